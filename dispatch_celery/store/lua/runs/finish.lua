-- PURPOSE  Records how a held run ended, and tells who waits. One that has failed or was cancelled with effects to be
--          undone does not end yet: from now on it is undoing.
-- KEYS     record from_state from_name to_state to_name held waits due open timers expiry idempotency journal *parent
-- ARGV     now journal id token revision op outcome keyed retain retain_key grace parent parent_at *fields
--          outcome: completed, failed or cancelled; retain, retain_key: ms; fields: name and value in turn.
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | REPEATED state | UNDOING cancel (why its holder may be about to be ended, or empty) | CANCELLING reason | FENCED state
-- ERRORS   none
-- TRANSITIONS running>completed running>failed running>cancelled
-- COST     O(log n)
-- INCLUDE  clock journal relieve hold move retire retain entry ready wake strike ended join
local TOLD = {completed = 'result', failed = 'error', cancelled = 'reason'}
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal and refusal[1] == 'REPEATED' and refusal[2] == 'running' then
  return {'UNDOING', redis.call('HGET', K.record, 'cancel') or ''}
end
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'created_at', 'cancel', 'undoing', 'undoing_for')
local outcome = seen[3] or A.outcome
if seen[2] and outcome == 'completed' then return {'CANCELLING', seen[2]} end
if seen[3] and (A.outcome ~= seen[3] or redis.call('ZCARD', K.open) > 0) then return {'UNDOING', ''} end
if outcome ~= 'completed' and redis.call('ZCARD', K.open) > 0 then
  relieve(K.open)
  redis.call('HSET', K.record, 'undoing', outcome, 'undoing_since', now, 'revision', tonumber(A.revision) + 1, 'op', A.op,
    unpack(ARGV, REST))
  local why = seen[2] or redis.call('HGET', K.record, 'reason')
  if outcome == 'cancelled' and why then redis.call('HSET', K.record, 'reason', why, 'undoing_for', why) end
  journal('dispatch.run.compensating', A.id, '', outcome, A.token)
  return {'UNDOING', seen[2] or ''}
end
retire(A.id, A.token, A.op, A.outcome, seen[1], 'finished_at', now, unpack(ARGV, REST))
local why = seen[4] or (not seen[3] and seen[2])
if A.outcome == 'cancelled' and why then redis.call('HSET', K.record, 'reason', why) end
local undoable = A.outcome == 'completed' and redis.call('ZCARD', K.open) > 0
retain_record(A.id, now, tonumber(seen[1]), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, A.outcome)
journal('dispatch.run.' .. A.outcome, A.id, 'running', A.outcome, A.token)
return {'DONE', string.format('%.0f', now), join(A.outcome, ended(A.outcome, redis.call('HGET', K.record, TOLD[A.outcome]) or ''), now, undoable)}
