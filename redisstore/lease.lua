-- What one.lua does, and takes beyond it what a node may hand out by itself.
-- ARGV: as for take.lua, with a fourth double: how much it wants. Returns what take.lua
-- returns, and a double: how much it got, at most a tenth of what is there.

local rate, size, cost, want = struct.unpack('<dddd', ARGV[1])
local b = load(KEYS[1]) or { have = size, at = now, kept = 0, rate = rate, size = size }
local edited, got = b.rate ~= rate or b.size ~= size, 0
b.rate, b.size, b.have = rate, size, math.min(b.have, size)

local ok = b.have >= cost - size * 1e-15
if ok then
  b.have = b.have - cost
  got = math.max(0, math.min(want, math.floor(b.have / 10)))
  b.have = b.have - got
end
if ok or edited then
  save(KEYS[1], b)
end

return struct.pack('<Bdd', ok and 1 or 0, b.have, got)
