-- PURPOSE  Forgets a lane that holds nothing.
-- KEYS     lane lanes
-- ARGV     lane
-- RETURNS  DONE | USED
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  none
if redis.call('EXISTS', K.lane) == 1 then return {'USED'} end
redis.call('SREM', K.lanes, A.lane)
return {'DONE'}
