-- PURPOSE  Lets an entry fire again, from its next slot on, or stops it; enabling one that is orphaned adopts it.
-- KEYS     entry slots chores
-- ARGV     now id expected enabled next next_due
--          expected: the revision the caller has computed from; enabled: 1 or 0.
-- RETURNS  DONE revision | SAME revision | CONFLICT revision | GONE
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local seen = redis.call('HMGET', K.entry, 'revision', 'enabled', 'orphaned_at')
if not seen[1] then return {'GONE'} end
if seen[2] == A.enabled and not (seen[3] and A.enabled == '1') then return {'SAME', seen[1]} end
if seen[1] ~= A.expected then return {'CONFLICT', seen[1]} end
local revision, now = string.format('%.0f', tonumber(seen[1]) + 1), clock(A.now)
redis.call('ZREM', K.slots, A.id)
if A.enabled == '1' then
  if seen[3] then redis.call('HSET', K.entry, 'origin', 'api') end
  redis.call('HDEL', K.entry, 'orphaned_at', 'disabled_at')
  redis.call('HSET', K.entry, 'next_slot', A.next, 'next_due', A.next_due)
  if A.next ~= '' then redis.call('ZADD', K.slots, A.next_due, A.id) end
else
  redis.call('ZREM', K.chores, 'queued ' .. A.id)
  redis.call('HDEL', K.entry, 'queued_slot')
  redis.call('HSET', K.entry, 'disabled_at', now)
end
redis.call('HSET', K.entry, 'revision', revision, 'enabled', A.enabled, 'updated_at', now)
redis.call('PUBLISH', K.slots, 'edited')
return {'DONE', revision}
