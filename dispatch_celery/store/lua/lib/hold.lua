-- The fence of a run's holder: nil if this token holds the run and it knows every write of its own, else the answer.
-- The same operation one revision ahead is REPEATED: its reply was lost.
local function hold(token, revision, op)
  local now = redis.call('HMGET', K.record, 'state', 'token', 'revision', 'op', 'closed')
  local stored = tonumber(now[3] or 0)
  if now[1] == 'running' and now[2] == token then
    if stored == tonumber(revision) then return nil end
    if stored == tonumber(revision) + 1 and now[4] == op then return {'REPEATED', now[1]} end
  elseif now[5] == token .. ' ' .. op then
    return {'REPEATED', now[1]}
  end
  return {'FENCED', now[1] or 'missing'}
end
