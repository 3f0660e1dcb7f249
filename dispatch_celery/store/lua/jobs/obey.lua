-- PURPOSE  Records that a held job was cancelled: it obeyed, asked for it itself, or ended with the cancel flag set.
-- KEYS     record from_state from_name to_state to_name held expiry idempotency permits journal *parent
-- ARGV     now journal id token reason error attempt keyed retain retain_key grace parent parent_at
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | REPEATED state | FENCED state
-- ERRORS   none
-- TRANSITIONS running>cancelled
-- COST     O(log n)
-- INCLUDE  clock journal guard move close history retain entry ready wake strike ended join post yield
local now = clock(A.now)
local refusal, created, cancel, permits = guard(A.token, 'cancelled')
if refusal then return refusal end
close(A.id, A.token, 'cancelled', created, 'reason', cancel or A.reason, 'finished_at', now)
yield(A.id, permits, now)
remember(A.attempt, now)
if A.error ~= '' then redis.call('HSET', K.record, 'error', A.error) end
retain_record(A.id, now, tonumber(created), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'cancelled')
journal('dispatch.job.cancelled', A.id, 'running', 'cancelled', A.token)
return {'DONE', string.format('%.0f', now), join('cancelled', ended('cancelled', cancel or A.reason), now, false)}
