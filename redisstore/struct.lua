-- The first part of all scripts. Numbers are sent and kept as doubles of 8 bytes, which
-- lose nothing and which a server need not print and read. Redis and Valkey have a
-- library for it, doubles of Redis for tests may not: they get as much as is used here.

local struct = rawget(_G, 'struct')
if not struct then
  local function bytes(n)
    local sign, fraction, exponent = n < 0 and 128 or 0, math.frexp(math.abs(n))
    if fraction == 0 then
      exponent = 0
    else
      fraction, exponent = (fraction * 2 - 1) * 2 ^ 52, exponent + 1022
    end
    local out = {}
    for i = 1, 6 do
      out[i] = string.char(fraction % 256)
      fraction = math.floor(fraction / 256)
    end
    return table.concat(out) .. string.char(exponent % 16 * 16 + fraction, sign + math.floor(exponent / 16))
  end

  local function number(text, at)
    local b = { string.byte(text, at, at + 7) }
    local fraction = b[7] % 16
    for i = 6, 1, -1 do
      fraction = fraction * 256 + b[i]
    end
    local exponent = b[8] % 128 * 16 + math.floor(b[7] / 16)
    local n = exponent == 0 and 0 or math.ldexp(fraction / 2 ^ 52 + 1, exponent - 1023)
    return b[8] < 128 and n or -n
  end

  struct = {
    pack = function(format, ...) -- '<', and for each number B for a byte or d for a double
      local out = {}
      for i, n in ipairs({ ... }) do
        out[i] = format:sub(i + 1, i + 1) == 'B' and string.char(n) or bytes(n)
      end
      return table.concat(out)
    end,
    unpack = function(format, text, at) -- '<', and d for each number
      local out = {}
      for i = 1, #format - 1 do
        out[i] = number(text, (at or 1) + 8 * (i - 1))
      end
      return unpack(out)
    end,
  }
end

