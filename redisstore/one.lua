-- What take.lua does, for the one bucket that most calls are about, without the
-- tables that a server would make and drop for each call. ARGV: rate, size and cost.
-- Returns '1' or '0' for allowed, and what was there.

local key, size, cost = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local have, at, edited = size, now, false

local text = redis.call('GET', key)
if text then
  local oldRate, oldSize
  have, at, oldRate, oldSize = string.match(text, '^(%S+) (%S+) (%S+) (%S+)$')
  edited = oldRate ~= ARGV[1] or oldSize ~= ARGV[2]
  have, at, oldRate, oldSize = tonumber(have or ''), tonumber(at or ''), tonumber(oldRate or ''), tonumber(oldSize or '')
  if not (have and at and oldRate and oldSize) then
    have, at = 0, now -- refuses, and is counted anew
  elseif now >= at then
    have = math.min(oldSize, have + (now - at) * oldRate)
    at = now
  elseif at - now >= 1000000 then
    at = now
  end
  have = math.min(have, size)
end

local ok = have >= cost - size * 1e-15
local left = string.format('%.16e', have)
local answer = (ok and '1 ' or '0 ') .. left
if cost > 0 and (ok or edited) then
  if ok then
    have = have - cost
    left = string.format('%.16e', have)
  end
  local full = (at - now + (size - have) / tonumber(ARGV[1])) / 1000
  full = math.min(math.max(math.ceil(full), 1) + 1000, 3153600000000)
  redis.call('SET', key, left .. string.format(' %.0f ', at) .. ARGV[1] .. ' ' .. ARGV[2], 'PX', full)
end

return answer
