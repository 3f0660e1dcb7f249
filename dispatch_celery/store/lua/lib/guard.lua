-- The fence: the answer to give, or nil if this token holds the job; then also when it was created, why it is to end, and
-- what permits it has.
local function guard(token, outcome)
  local now = redis.call('HMGET', K.record, 'state', 'token', 'closed', 'created_at', 'cancel', 'permits')
  if now[1] == 'running' and now[2] == token then return nil, now[4], now[5], now[6] end
  if now[3] == token .. ' ' .. outcome then return {'REPEATED', now[1]} end
  return {'FENCED', now[1] or 'missing'}
end
