-- PURPOSE  Cuts the lease of a worker that seems gone, and its lead; one that lives renews both.
-- KEYS     workers leader
-- ARGV     now id cut
--          cut: ms it keeps at most.
-- RETURNS  CUT | UNKNOWN
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock relieve
local until_at = clock(A.now) + tonumber(A.cut)
relieve(K.workers)
local leader = redis.call('HMGET', K.leader, 'id', 'until')
if leader[1] == A.id and tonumber(leader[2]) > until_at then redis.call('HSET', K.leader, 'until', until_at) end
local lease = redis.call('ZSCORE', K.workers, A.id)
if not lease then return {'UNKNOWN'} end
if tonumber(lease) > until_at then redis.call('ZADD', K.workers, until_at, A.id) end
return {'CUT'}
