-- PURPOSE  Stops an entry that code declared and no live process has declared for a while; it keeps its next slot.
-- KEYS     entry slots chores declared
-- ARGV     now id since
--          since: ms since 1970; whoever has declared it later, the entry stays.
-- RETURNS  DONE | SAME | GONE
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local last = redis.call('ZSCORE', K.declared, A.id)
if not last or tonumber(last) > tonumber(A.since) then return {'SAME'} end
redis.call('ZREM', K.declared, A.id)
if redis.call('HGET', K.entry, 'origin') ~= 'code' then return {'GONE'} end
redis.call('ZREM', K.slots, A.id)
redis.call('ZREM', K.chores, 'queued ' .. A.id)
redis.call('HDEL', K.entry, 'queued_slot')
redis.call('HSET', K.entry, 'orphaned_at', clock(A.now))
redis.call('HINCRBY', K.entry, 'revision', 1)
return {'DONE'}
