-- PURPOSE  Deletes an entry and its history; what it has created goes on.
-- KEYS     entry fires crons slots chores declared
-- ARGV     id expected
--          expected: the revision the caller has seen, or empty for any.
-- RETURNS  DONE | CONFLICT revision | GONE
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
local revision = redis.call('HGET', K.entry, 'revision')
if not revision then return {'GONE'} end
if A.expected ~= '' and A.expected ~= revision then return {'CONFLICT', revision} end
redis.call('DEL', K.entry, K.fires)
redis.call('ZREM', K.crons, A.id)
redis.call('ZREM', K.slots, A.id)
redis.call('ZREM', K.declared, A.id)
redis.call('ZREM', K.chores, 'queued ' .. A.id)
return {'DONE'}
