-- PURPOSE  Deletes a raw dead letter.
-- KEYS     raw dead expiry
-- ARGV     id
-- RETURNS  DONE | MISSING
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  none
redis.call('ZREM', K.dead, A.id)
redis.call('ZREM', K.expiry, A.id)
return {redis.call('DEL', K.raw) == 1 and 'DONE' or 'MISSING'}
