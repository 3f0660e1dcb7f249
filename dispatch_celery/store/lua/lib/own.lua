-- Whether a key may have a permit by its own limits: true and the tokens it has, or false and the ms until it may (nil:
-- when it gives one back).
local function own(key, rule, now)
  local held = rule.key_most and redis.call('ZLEXCOUNT', K.holders, '[' .. key .. '\t', '(' .. key .. '\n') or 0
  if rule.key_most and held >= rule.key_most then return false end
  if not rule.key_interval then return true end
  local tokens, filled = string.match(redis.call('HGET', K.buckets, key) or '', '^(%S+) (%S+)$')
  local found, pause = bucket(tokens, filled, rule.key_interval, rule.key_burst, now)
  if pause == 0 then return true, found end
  redis.call('HSET', K.buckets, key, string.format('%.17g %.0f', found, now))
  return false, pause
end
