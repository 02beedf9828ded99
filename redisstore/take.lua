-- KEYS: a bucket for each request, perhaps one more than once.
-- ARGV: for each request three doubles, the rate and size of its limit and its cost;
-- then, to take nothing, 'look'. Returns for each request a byte, 1 for allowed or 0,
-- and a double, what is there after it.

local precision = 1e-15 -- as in apitoken.MemoryLimiter
local buckets, answers, refused = {}, {}, false

for i, key in ipairs(KEYS) do
  local rate, size, cost = struct.unpack('<ddd', ARGV[1], 24 * (i - 1) + 1)
  local b = buckets[key]
  if not b then
    b = load(key) or { have = size, at = now, kept = 0, rate = rate, size = size }
    b.taken, b.costs = 0, false
    buckets[key] = b
  end
  if b.rate ~= rate or b.size ~= size then
    b.rate, b.size, b.edited = rate, size, true
    b.have = math.min(b.have, size)
  end
  local ok = b.have - b.taken >= cost - size * precision
  if ok then
    b.taken = b.taken + cost
  else
    refused = true
  end
  b.costs = b.costs or cost > 0
  answers[i] = struct.pack('<Bd', ok and 1 or 0, b.have - b.taken)
end

if ARGV[2] ~= 'look' then
  for key, b in pairs(buckets) do
    if not refused then
      b.have = b.have - b.taken
    end
    -- An edited limit is kept after a refusal too: the bucket refills by it from now on.
    if b.costs and (b.edited or not refused) then
      save(key, b)
    end
  end
end

return table.concat(answers)
