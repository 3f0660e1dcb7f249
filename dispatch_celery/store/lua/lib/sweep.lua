-- Forgets some buckets of keys that are full by now: a key without a bucket has a full one.
local function sweep(rule, now)
  if not rule.key_interval then return redis.call('DEL', K.buckets) end
  local some = redis.call('HRANDFIELD', K.buckets, 4, 'WITHVALUES')
  for at = 1, #some, 2 do
    local tokens, filled = string.match(some[at + 1], '^(%S+) (%S+)$')
    if bucket(tokens, filled, rule.key_interval, rule.key_burst, now) >= rule.key_burst then
      redis.call('HDEL', K.buckets, some[at])
    end
  end
end
