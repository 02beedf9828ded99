-- The second part of the scripts for several buckets: how a bucket is kept.
--
-- A bucket is five doubles: the requests that are there, as of when, until when the
-- server keeps it (both in microseconds by the clock of this server), and the rate
-- (requests per microsecond) and the size by which it is counted. Times and requests
-- stay far below 2^53, so that doubles hold them exactly.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local disorder = 1000000 -- what lies further back is a clock that was set back
local margin = 1000000 -- that a full bucket is kept at least
local century = 3153600000000 -- milliseconds

-- load returns a bucket as it is now, or nil if it is full.
local function load(key)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  if #text ~= 40 then
    return { have = 0, at = now, kept = 0, unknown = true } -- refuses, and is counted anew
  end
  local have, at, kept, rate, size = struct.unpack('<ddddd', text)
  if now >= at then
    have = math.min(size, have + (now - at) * rate)
    at = now
  elseif at - now >= disorder then
    at = now
  end
  return { have = have, at = at, kept = kept, rate = rate, size = size }
end

-- save writes a bucket, which the server keeps for twice as long as need be: to set
-- that anew takes it longer than all else here.
local function save(key, b)
  local least = b.at + (b.size - b.have) / b.rate + margin
  if least <= b.kept then
    redis.call('SET', key, struct.pack('<ddddd', b.have, b.at, b.kept, b.rate, b.size), 'KEEPTTL')
  else
    local keep = math.min(math.ceil((least - now) / 500), century)
    redis.call('SET', key, struct.pack('<ddddd', b.have, b.at, now + keep * 1000, b.rate, b.size), 'PX', keep)
  end
end

