-- Hands out the permits there are, at most `batch`, each to the key whose turn it is; returns how many, and in how many ms
-- another may be had (-1: not before one is given back, asked for, or the limit is changed).
local function grant(batch, now)
  local rule = read_rule(now)
  if rule.paused then return 0, rule.left end
  if rule.rekey then return 0, 0 end
  sweep(rule, now)
  rouse(rule, batch, now)
  local more = review(batch)
  local held, given, looked, tokens = redis.call('ZCARD', K.holders), 0, 0, rule.tokens
  while given < batch and looked < 4 * batch and tokens >= 1 and not (rule.most and held >= rule.most) do
    looked = looked + 1
    local key, at = unpack(redis.call('ZRANGE', K.turns, 0, 0, 'WITHSCORES'))
    if not key then break end
    local may, left = own(key, rule, now)
    if may and give(key, now) then
      rule.turn = tonumber(at)
      local weight = tonumber(redis.call('HGET', K.weights, key)) or 1
      redis.call('ZADD', K.turns, rule.turn + 1 / weight, key)
      if left then redis.call('HSET', K.buckets, key, string.format('%.17g %.0f', left - 1, now)) end
      held, given, tokens = held + 1, given + 1, rule.interval and tokens - 1 or tokens
    else
      redis.call('ZREM', K.turns, key)
      if not may and left then redis.call('ZADD', K.resting, now + left, key) end
    end
  end
  redis.call('HSET', K.limit, 'turn', string.format('%.17g', rule.turn))
  if rule.interval then redis.call('HSET', K.limit, 'tokens', string.format('%.17g', tokens)) end
  if more or given == batch or looked == 4 * batch then return given, 0 end
  local after = rouse(rule, 0, now)
  if tokens < 1 and redis.call('ZCARD', K.turns) > 0 then
    local pause = math.ceil((1 - tokens) * rule.interval - 0.001)
    after = after and math.min(after, pause) or pause
  end
  return given, after or -1
end
