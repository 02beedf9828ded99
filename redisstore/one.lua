-- What take.lua does, for the one bucket that most calls are about, without the
-- functions and tables that a server would make and drop for each call.
-- ARGV: as for take.lua, for one request. Returns what take.lua returns.

local key = KEYS[1]
local rate, size, cost = struct.unpack('<ddd', ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local have, at, kept, edited = size, now, 0, false

local text = redis.call('GET', key)
if text then
  if #text == 40 then
    local oldRate, oldSize
    have, at, kept, oldRate, oldSize = struct.unpack('<ddddd', text)
    edited = oldRate ~= rate or oldSize ~= size
    if now >= at then
      have = have + (now - at) * oldRate
      if have > oldSize then
        have = oldSize
      end
      at = now
    elseif at - now >= 1000000 then
      at = now
    end
    if have > size then
      have = size
    end
  else
    have, edited = 0, true -- refuses, and is counted anew
  end
end

local ok = have >= cost - size * 1e-15
if cost > 0 and (ok or edited) then
  if ok then
    have = have - cost
  end
  local least = at + (size - have) / rate + 1000000
  if least <= kept then
    redis.call('SET', key, struct.pack('<ddddd', have, at, kept, rate, size), 'KEEPTTL')
  else
    local keep = math.min(math.ceil((least - now) / 500), 3153600000000)
    redis.call('SET', key, struct.pack('<ddddd', have, at, now + keep * 1000, rate, size), 'PX', keep)
  end
end

return struct.pack('<Bd', ok and 1 or 0, have)
