-- The first part of both scripts: how a bucket is kept.
--
-- A bucket is a string of four numbers: the requests that are there, as of when (in
-- microseconds by the clock of this server), and the rate (requests per microsecond)
-- and the size by which it is counted. Times and requests stay far below 2^53, so
-- that doubles hold them exactly, and %.16e writes a double without loss.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

local disorder = 1000000 -- what lies further back is a clock that was set back
local margin = 1000 -- milliseconds that a full bucket is kept
local century = 3153600000000 -- milliseconds

-- load returns a bucket as it is now, or nil if it is full.
local function load(key)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  local have, at, rate, size = string.match(text, '^(%S+) (%S+) (%S+) (%S+)$')
  have, at, rate, size = tonumber(have or ''), tonumber(at or ''), tonumber(rate or ''), tonumber(size or '')
  if not (have and at and rate and size) then
    return { have = 0, at = now, unknown = true } -- refuses, and is counted anew
  end
  if now >= at then
    have = math.min(size, have + (now - at) * rate)
    at = now
  elseif at - now >= disorder then
    at = now
  end
  return { have = have, at = at, rate = rate, size = size }
end

-- save writes a bucket, until it would be full.
local function save(key, b)
  local full = (b.at - now + (b.size - b.have) / b.rate) / 1000
  full = math.min(math.max(math.ceil(full), 1) + margin, century)
  redis.call('SET', key, string.format('%.16e %.0f %.16e %.16e', b.have, b.at, b.rate, b.size), 'PX', string.format('%.0f', full))
end

