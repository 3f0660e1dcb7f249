-- Takes back what a job asked for that waits for a permit, and gives back those it has.
local function withdraw(id, now)
  local seen = redis.call('HMGET', K.record, 'permits', 'limit', 'asks')
  yield(id, seen[1], now)
  if not seen[2] then return end
  post('return', id, seen[3], seen[2], now)
  redis.call('HDEL', K.record, 'limit', 'limited_at')
end
