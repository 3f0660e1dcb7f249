-- PURPOSE  Records how a held run ended, and tells who waits. One that has failed or was cancelled with effects to be
--          undone does not end yet: from now on it is undoing.
-- KEYS     record from_state from_name to_state to_name held waits due open timers expiry idempotency journal
-- ARGV     now journal id token revision op outcome keyed retain retain_key *fields
--          outcome: completed, failed or cancelled; retain, retain_key: ms; fields: name and value in turn.
-- RETURNS  DONE now | REPEATED state | UNDOING | CANCELLING reason | FENCED state
-- ERRORS   none
-- TRANSITIONS running>completed running>failed running>cancelled
-- COST     O(log n)
-- INCLUDE  clock journal hold move retire retain
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'created_at', 'cancel', 'undoing')
local outcome = seen[3] or A.outcome
if seen[2] and outcome == 'completed' then return {'CANCELLING', seen[2]} end
if seen[3] and (A.outcome ~= seen[3] or redis.call('ZCARD', K.open) > 0) then return {'UNDOING'} end
if outcome ~= 'completed' and redis.call('ZCARD', K.open) > 0 then
  redis.call('HSET', K.record, 'undoing', outcome, 'undoing_since', now, 'revision', tonumber(A.revision) + 1, 'op', A.op,
    unpack(ARGV, REST))
  if outcome == 'cancelled' and seen[2] then redis.call('HSET', K.record, 'reason', seen[2]) end
  journal('dispatch.run.compensating', A.id, '', outcome, A.token)
  return {'UNDOING'}
end
retire(A.id, A.token, A.op, A.outcome, seen[1], 'finished_at', now, unpack(ARGV, REST))
if A.outcome == 'cancelled' and seen[2] and not seen[3] then redis.call('HSET', K.record, 'reason', seen[2]) end
retain_record(A.id, now, tonumber(seen[1]), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, A.outcome)
journal('dispatch.run.' .. A.outcome, A.id, 'running', A.outcome, A.token)
return {'DONE', string.format('%.0f', now)}
