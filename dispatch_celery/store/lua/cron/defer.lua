-- PURPOSE  Sets an entry aside that its leader cannot read, until later or its next edit; forgets one that is gone.
-- KEYS     entry slots
-- ARGV     now id revision pause
--          revision: as the caller has read it; pause: ms.
-- RETURNS  DONE | STALE | GONE
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
local seen = redis.call('HMGET', K.entry, 'revision', 'enabled', 'orphaned_at', 'next_due')
if not seen[1] then
  redis.call('ZREM', K.slots, A.id)
  return {'GONE'}
end
if seen[2] ~= '1' or seen[3] then
  redis.call('ZREM', K.slots, A.id)
  return {'STALE'}
end
if seen[1] ~= A.revision then return {'STALE'} end
-- Not before it is due: its leader may have looked because of a slot that is queued.
redis.call('ZADD', K.slots, math.max(clock(A.now) + tonumber(A.pause), tonumber(seen[4]) or 0), A.id)
return {'DONE'}
