-- PURPOSE  Sets an entry aside that its leader cannot read, until later or its next edit; forgets one that is gone.
-- KEYS     entry slots
-- ARGV     now id revision pause
--          revision: as the caller has read it; pause: ms.
-- RETURNS  DONE | STALE | GONE
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local seen = redis.call('HMGET', K.entry, 'revision', 'enabled', 'orphaned_at')
if not seen[1] then
  redis.call('ZREM', K.slots, A.id)
  return {'GONE'}
end
if seen[2] ~= '1' or seen[3] then
  redis.call('ZREM', K.slots, A.id)
  return {'STALE'}
end
if seen[1] ~= A.revision then return {'STALE'} end
redis.call('ZADD', K.slots, clock(A.now) + tonumber(A.pause), A.id)
return {'DONE'}
