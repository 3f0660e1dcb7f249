-- PURPOSE  Records what held work tells of itself: how far a job or step has come, what a run does.
-- KEYS     record
-- ARGV     token field told
--          field: progress, or of a run its status.
-- RETURNS  DONE | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  none
local seen = redis.call('HMGET', K.record, 'state', 'token')
if seen[1] ~= 'running' or seen[2] ~= A.token then return {'FENCED', seen[1] or 'missing'} end
redis.call('HSET', K.record, A.field, A.told)
return {'DONE'}
