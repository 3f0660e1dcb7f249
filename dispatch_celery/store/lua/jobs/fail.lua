-- PURPOSE  Records that a held job has failed for good: a dead letter from the same moment on.
-- KEYS     record from_state from_name to_state to_name held dead letters groups expiry idempotency permits journal *parent
-- ARGV     now journal id token error reason fingerprint counter attempt keyed retain retain_key grace parent parent_at
--          counter: attempts, crashes or lost_workers; error, attempt: as in retry.
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | REPEATED state | FENCED state | CANCELLING
-- ERRORS   none
-- TRANSITIONS running>failed
-- COST     O(log n)
-- INCLUDE  clock journal guard move close history file retain entry ready wake strike ended join post yield
local now = clock(A.now)
local refusal, created, cancel, permits = guard(A.token, 'failed')
if refusal then return refusal end
if cancel then return {'CANCELLING'} end
close(A.id, A.token, 'failed', created, 'error', A.error, 'reason', A.reason, 'finished_at', now,
  'fingerprint', A.fingerprint)
yield(A.id, permits, now)
remember(A.attempt, now)
redis.call('HINCRBY', K.record, A.counter, 1)
redis.call('ZADD', K.dead, now, A.id)
file_letter(A.id, redis.call('HGET', K.record, 'name'), A.fingerprint, now)
retain_record(A.id, now, tonumber(created), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'failed')
journal('dispatch.job.failed', A.id, 'running', 'failed', A.token)
return {'DONE', string.format('%.0f', now), join('failed', ended('failed', A.error), now, false)}
