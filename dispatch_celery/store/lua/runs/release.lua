-- PURPOSE  Takes a held run from a process that stops or is dead: ready again at once, or after a pause.
-- KEYS     record from_state from_name to_state to_name later_state later_name held lane lanes marks due timers journal
-- ARGV     now journal id lane token op counter pause grace
--          counter: crashes, lost_workers, or empty for a graceful stop; pause, grace: ms.
-- RETURNS  DONE wake (empty when it pauses) | REPEATED wake | FENCED state
-- ERRORS   none
-- TRANSITIONS running>pending running>waiting
-- COST     O(log n)
-- INCLUDE  clock journal move ready arm
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'token', 'closed', 'created_at', 'wake')
if seen[3] == A.token .. ' ' .. A.op and seen[1] ~= 'running' then return {'REPEATED', seen[5] or ''} end
if seen[1] ~= 'running' or seen[2] ~= A.token then return {'FENCED', seen[1] or 'missing'} end
redis.call('HDEL', K.held, A.id)
redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'op', 'progress')
if A.counter ~= '' then redis.call('HINCRBY', K.record, A.counter, 1) end
local event = A.counter == '' and 'dispatch.run.released' or 'dispatch.run.recovered'
if tonumber(A.pause) > 0 then
  K.to_state, K.to_name = K.later_state, K.later_name
  move(A.id, 'waiting', seen[4], 'closed', A.token .. ' ' .. A.op)
  redis.call('ZADD', K.due, now + tonumber(A.pause), 'pause')
  arm(A.id)
  journal(event, A.id, 'running', 'waiting', A.token)
  return {'DONE', ''}
end
move(A.id, 'pending', seen[4], 'closed', A.token .. ' ' .. A.op)
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal(event, A.id, 'running', 'pending', A.token)
return {'DONE', wake}
