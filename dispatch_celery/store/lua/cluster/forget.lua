-- PURPOSE  Forgets a condemned incarnation once nothing is held under it.
-- KEYS     worker held condemned
-- ARGV     id
-- RETURNS  DONE | HELD
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  none
if redis.call('HLEN', K.held) > 0 then return {'HELD'} end
redis.call('DEL', K.worker)
redis.call('ZREM', K.condemned, A.id)
return {'DONE'}
