-- PURPOSE  Lets a run that nobody holds undo what it has done, and end as cancelled then.
-- KEYS     record from_state from_name to_state to_name lane lanes marks waits due open timers unknown journal *parent
-- ARGV     now journal id lane expected reason grace by
--          expected: the state the caller saw; from_state and from_name belong to it.
--          by: token and revision of the run in whose name it is asked, or empty.
-- RETURNS  READY wake (empty where it was ready already) | UNDOING outcome | EMPTY (nothing is to be undone) | STATE state | FENCED state (of the run it belongs to)
-- ERRORS   none
-- TRANSITIONS waiting>pending parked>pending
-- COST     O(log n)
-- INCLUDE  clock journal move ready leave
local now = clock(A.now)
local refusal = leave()
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'undoing')
if seen[1] ~= A.expected or (seen[1] ~= 'pending' and seen[1] ~= 'waiting' and seen[1] ~= 'parked') then
  return {'STATE', seen[1] or 'missing'}
end
if seen[3] then return {'UNDOING', seen[3]} end
if redis.call('ZCARD', K.open) == 0 then return {'EMPTY'} end
redis.call('DEL', K.waits, K.due)
redis.call('ZREM', K.timers, A.id)
redis.call('ZREM', K.unknown, A.id)
redis.call('HDEL', K.record, 'detail', 'parked_at', 'crashes', 'lost_workers', 'unknown_since')
redis.call('HSET', K.record, 'undoing', 'cancelled', 'undoing_since', now, 'reason', A.reason, 'undoing_for', A.reason)
journal('dispatch.run.compensating', A.id, '', 'cancelled', '')
if seen[1] == 'pending' then return {'READY', ''} end
move(A.id, 'pending', seen[2])
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.run.ready', A.id, A.expected, 'pending', '')
return {'READY', wake}
