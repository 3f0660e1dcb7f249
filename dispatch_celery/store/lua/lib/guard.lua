-- The fence: nil if this token holds the job, else the answer to give. The same outcome sent again is REPEATED.
local function guard(token, outcome)
  local now = redis.call('HMGET', K.record, 'state', 'token', 'closed')
  if now[1] == 'running' and now[2] == token then return nil end
  if now[3] == token .. ' ' .. outcome then return {'REPEATED', now[1]} end
  return {'FENCED', now[1] or 'missing'}
end
