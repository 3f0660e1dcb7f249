-- What a limit allows, and the tokens it has by now. A pause whose time is over is taken away, which is noted until
-- somebody has let jobs and runs know; one that was all there is to the limit takes the limit with it.
local function read_rule(now)
  local stored = redis.call('HMGET', K.limit, 'paused', 'concurrency', 'interval', 'burst', 'tokens', 'filled_at', 'turn',
    'key_concurrency', 'key_interval', 'key_burst', 'paused_until', 'spoken', 'rekey')
  local rule = {paused = stored[1] == '1', most = tonumber(stored[2]), interval = tonumber(stored[3]),
    burst = tonumber(stored[4]) or 1, turn = tonumber(stored[7]) or 0, key_most = tonumber(stored[8]),
    key_interval = tonumber(stored[9]), key_burst = tonumber(stored[10]) or 1, tokens = 1, pause = 0, rekey = stored[13]}
  local left = rule.paused and stored[11] and tonumber(stored[11]) - now
  if left and left <= 0 then
    redis.call('HDEL', K.limit, 'paused', 'paused_until', 'pause_reason')
    if not stored[12] then redis.call('HSET', K.limit, 'lifted', '1') end
    redis.call('HSET', K.limit, 'resumed', '1')
    rule.paused = false
  end
  rule.left = left or -1
  if rule.interval then
    rule.tokens, rule.pause = bucket(stored[5], stored[6], rule.interval, rule.burst, now)
    redis.call('HSET', K.limit, 'tokens', string.format('%.17g', rule.tokens), 'filled_at', string.format('%.0f', now))
  end
  return rule
end
