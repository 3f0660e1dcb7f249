-- PURPOSE  Makes a due job ready, or lets it ask for a permit.
-- KEYS     record from_state from_name to_state to_name lane lanes marks timers leader limits limited_state limited_name permits journal
-- ARGV     now journal id name expected lane grace term force
--          force: 1 to run it before it is due.
-- RETURNS  READY wake | LIMITED limit | LEFTOVER state
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS scheduled>pending retrying>pending scheduled>limited retrying>limited
-- COST     O(log n)
-- INCLUDE  clock journal term move ready gate post park
local now = clock(A.now)
local lost = reigns(A.term)
if lost then return lost end
local seen = redis.call('HMGET', K.record, 'state', 'created_at')
local state = seen[1] or 'missing'
local due = redis.call('ZSCORE', K.timers, A.id)
if state ~= 'scheduled' and state ~= 'retrying' then
  redis.call('ZREM', K.timers, A.id)
  return {'LEFTOVER', state}
end
if state ~= A.expected or not due or (A.force ~= '1' and tonumber(due) > now) then return {'LEFTOVER', state} end
redis.call('ZREM', K.timers, A.id)
local limit = gate(A.name, A.lane, nil)
if limit then
  K.to_state, K.to_name = K.limited_state, K.limited_name
  move(A.id, 'limited', seen[2])
  redis.call('HDEL', K.record, 'due_at')
  park(K.record, A.id, limit, now)
  journal('dispatch.job.limited', A.id, state, 'limited', '')
  return {'LIMITED', limit}
end
move(A.id, 'pending', seen[2])
redis.call('HDEL', K.record, 'due_at')
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.job.ready', A.id, state, 'pending', '')
return {'READY', wake}
