-- PURPOSE  Drops a holding whose job is not held under it any more.
-- KEYS     record held
-- ARGV     id holding
-- RETURNS  DONE | HELD
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  none
local seen = redis.call('HMGET', K.record, 'state', 'token')
local token = string.match(A.holding, '^%S+ (%S+)')
if seen[1] == 'running' and seen[2] == token then return {'HELD'} end
if redis.call('HGET', K.held, A.id) == A.holding then redis.call('HDEL', K.held, A.id) end
return {'DONE'}
