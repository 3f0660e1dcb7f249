-- PURPOSE  Sets a held job aside until it is due again: a failed attempt, a snooze, or a crash with a pause.
-- KEYS     record from_state from_name to_state to_name held timers permits journal
-- ARGV     now journal id token delay counter error attempt
--          delay: ms; counter: the field this end uses up (attempts, snoozes, crashes, lost_workers);
--          error, attempt: JSON and the rest of a JSON object, or empty.
-- RETURNS  DONE due | REPEATED state | FENCED state | CANCELLING
-- ERRORS   none
-- TRANSITIONS running>retrying
-- COST     O(log n)
-- INCLUDE  clock journal guard move close history timer post yield
local now = clock(A.now)
local refusal, created, cancel, permits = guard(A.token, 'retrying')
if refusal then return refusal end
if cancel then return {'CANCELLING'} end
local due = now + tonumber(A.delay)
close(A.id, A.token, 'retrying', created)
yield(A.id, permits, now)
remember(A.attempt, now)
redis.call('HINCRBY', K.record, A.counter, 1)
if A.error ~= '' then redis.call('HSET', K.record, 'error', A.error) end
set_timer(A.id, due)
journal('dispatch.job.retrying', A.id, 'running', 'retrying', A.token)
return {'DONE', string.format('%.0f', due)}
