-- Lets keys whose own rate made them rest take their turn again: those whose time has come, and those that would rest
-- longer than any can (the clock was set back). Returns the ms until the next is due, or nil.
local function rouse(rule, batch, now)
  local latest = string.format('(%.0f', now + (rule.key_interval or 0) + 1)
  for _, range in ipairs({{'-inf', string.format('%.0f', now)}, {latest, '+inf'}}) do
    for _, key in ipairs(redis.call('ZRANGEBYSCORE', K.resting, range[1], range[2], 'LIMIT', 0, batch)) do
      redis.call('ZREM', K.resting, key)
      turn(key)
    end
  end
  local next = redis.call('ZRANGE', K.resting, 0, 0, 'WITHSCORES')[2]
  return next and math.max(0, tonumber(next) - now) or nil
end
