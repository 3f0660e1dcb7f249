-- PURPOSE  Lets a run that has completed undo what it did, and end as cancelled then.
-- KEYS     record from_state from_name to_state to_name lane lanes marks open expiry idempotency journal *parent
-- ARGV     now journal id lane reason keyed grace by
--          by: token and revision of the run in whose name it is asked, or empty.
-- RETURNS  READY wake | EMPTY (nothing of it can be undone) | STATE state | FENCED state (of the run it belongs to)
-- ERRORS   none
-- TRANSITIONS completed>pending
-- COST     O(log n)
-- INCLUDE  clock journal move ready leave
local now = clock(A.now)
local refusal = leave()
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'state', 'created_at')
if seen[1] ~= 'completed' then return {'STATE', seen[1] or 'missing'} end
if redis.call('ZCARD', K.open) == 0 then return {'EMPTY'} end
redis.call('ZREM', K.expiry, A.id)
if A.keyed == '1' and string.match(redis.call('GET', K.idempotency) or '', '^%S+') == A.id then
  redis.call('PERSIST', K.idempotency)
end
redis.call('HDEL', K.record, 'finished_at', 'closed')
redis.call('HSET', K.record, 'undoing', 'cancelled', 'undoing_since', now, 'reason', A.reason, 'undoing_for', A.reason)
move(A.id, 'pending', seen[2])
journal('dispatch.run.compensating', A.id, '', 'cancelled', '')
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.run.ready', A.id, 'completed', 'pending', '')
return {'READY', wake}
