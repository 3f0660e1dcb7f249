-- PURPOSE  Records how far held work has come: a job, or the step of a run.
-- KEYS     record
-- ARGV     token progress
-- RETURNS  DONE | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  none
local seen = redis.call('HMGET', K.record, 'state', 'token')
if seen[1] ~= 'running' or seen[2] ~= A.token then return {'FENCED', seen[1] or 'missing'} end
redis.call('HSET', K.record, 'progress', A.progress)
return {'DONE'}
