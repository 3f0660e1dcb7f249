-- PURPOSE  Records that a held job has failed for good: a dead letter from the same moment on.
-- KEYS     record from_state from_name to_state to_name held dead expiry idempotency journal
-- ARGV     now journal id token error reason counter attempt keyed retain retain_key
--          counter: attempts, crashes or lost_workers; error, attempt: as in retry.
-- RETURNS  DONE now | REPEATED state | FENCED state | CANCELLING
-- ERRORS   none
-- TRANSITIONS running>failed
-- COST     O(log n)
-- INCLUDE  clock journal guard close move history retain
local now = clock(A.now)
local refusal = guard(A.token, 'failed')
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'created_at', 'cancel')
if seen[2] then return {'CANCELLING'} end
close(A.id, A.token, 'failed')
move(A.id, 'failed', seen[1])
remember(A.attempt, now)
redis.call('HINCRBY', K.record, A.counter, 1)
redis.call('HSET', K.record, 'error', A.error, 'reason', A.reason, 'finished_at', now)
redis.call('ZADD', K.dead, now, A.id)
retain_record(A.id, now, tonumber(seen[1]), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'failed')
journal('dispatch.job.failed', A.id, 'running', 'failed', A.token)
return {'DONE', string.format('%.0f', now)}
