-- PURPOSE  Marks a ready job whose wake-up seems lost for another publication.
-- KEYS     record lane marks leader
-- ARGV     now id published grace term
--          published: the time the caller saw in the lane, ms since 1970; grace: ms.
-- RETURNS  READY wake | LEFTOVER state
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock term relieve
local lost = reigns(A.term)
if lost then return lost end
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'wake')
if seen[1] ~= 'pending' then
  redis.call('ZREM', K.lane, A.id)
  return {'LEFTOVER', seen[1] or 'missing'}
end
local published = redis.call('ZSCORE', K.lane, A.id)
if published and tonumber(published) ~= tonumber(A.published) then return {'LEFTOVER', 'pending'} end
relieve(K.lane)
redis.call('ZADD', K.lane, now, A.id)
redis.call('ZADD', K.marks, now + tonumber(A.grace), A.id .. ':' .. seen[2])
redis.call('HINCRBY', K.record, 'publishes', 1)
return {'READY', seen[2]}
