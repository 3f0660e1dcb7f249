-- PURPOSE  Deletes a limit that was lifted, once nobody waits for it and nobody has a permit of it.
-- KEYS     limit names weights waiting turns resting holders known buckets
-- ARGV     limit
-- RETURNS  DONE | HELD
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  none
if redis.call('HGET', K.limit, 'lifted') ~= '1' or redis.call('HLEN', K.known) > 0 then return {'HELD'} end
redis.call('DEL', K.limit, K.weights, K.waiting, K.turns, K.resting, K.holders, K.known, K.buckets)
redis.call('ZREM', K.names, A.limit)
return {'DONE'}
