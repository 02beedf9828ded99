-- KEYS: a bucket for each request that was taken from it. ARGV: what was taken.

for i, key in ipairs(KEYS) do
  local b = load(key)
  if b and not b.unknown then -- else it is full, or nobody knows
    b.have = math.min(b.size, b.have + tonumber(ARGV[i]))
    save(key, b)
  end
end

return {}
