-- PURPOSE  Records that a held job has completed, with its result, and tells who waits.
-- KEYS     record from_state from_name to_state to_name held expiry idempotency permits journal *parent
-- ARGV     now journal id token result keyed retain retain_key grace parent parent_at
-- RETURNS  DONE now wake (of the run it belongs to, or empty) | REPEATED state | FENCED state
-- ERRORS   none
-- TRANSITIONS running>completed
-- COST     O(log n)
-- INCLUDE  clock journal guard move close retain entry ready wake strike join post yield
local now = clock(A.now)
local refusal, created, _, permits = guard(A.token, 'completed')
if refusal then return refusal end
close(A.id, A.token, 'completed', created, 'result', A.result, 'finished_at', now)
yield(A.id, permits, now)
retain_record(A.id, now, tonumber(created), tonumber(A.retain), tonumber(A.retain_key))
redis.call('PUBLISH', K.record, 'completed')
journal('dispatch.job.completed', A.id, 'running', 'completed', A.token)
return {'DONE', string.format('%.0f', now), join('completed', A.result, now, false)}
