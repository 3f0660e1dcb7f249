-- PURPOSE  Gives every registered worker one full lease: the leader, or the server, was not there to see them renew.
-- KEYS     workers leader
-- ARGV     now term lease limit
-- RETURNS  count
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(limit log n)
-- INCLUDE  clock term relieve
local lost = reigns(A.term)
if lost then return lost end
local until_at = clock(A.now) + tonumber(A.lease)
local ids = redis.call('ZRANGEBYSCORE', K.workers, '-inf', until_at, 'LIMIT', 0, tonumber(A.limit))
relieve(K.workers)
for _, id in ipairs(ids) do redis.call('ZADD', K.workers, until_at, id) end
return #ids
