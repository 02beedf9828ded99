-- KEYS: a bucket for each request, perhaps one more than once.
-- ARGV: 'take' or 'look', and for each request the rate and size of its limit and
-- its cost. Returns for each request '1' or '0' for allowed, and what was there.

local precision = 1e-15 -- as in apitoken.MemoryLimiter
local buckets, answers, refused = {}, {}, false

for i, key in ipairs(KEYS) do
  local rate, size, cost = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local b = buckets[key]
  if not b then
    b = load(key) or { have = size, at = now, rate = rate, size = size }
    b.taken, b.costs = 0, false
    buckets[key] = b
  end
  if b.rate ~= rate or b.size ~= size then
    b.rate, b.size, b.edited = rate, size, true
    b.have = math.min(b.have, size)
  end
  local left = b.have - b.taken
  local ok = left >= cost - size * precision
  if ok then
    b.taken = b.taken + cost
  else
    refused = true
  end
  b.costs = b.costs or cost > 0
  answers[i] = string.format('%d %.16e', ok and 1 or 0, left)
end

if ARGV[1] == 'take' then
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

return answers
