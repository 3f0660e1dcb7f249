-- PURPOSE  Ends an incarnation: gone at once if it holds nothing, else left to recovery; resigns the lead.
-- KEYS     workers worker held condemned leader
-- ARGV     now id
-- RETURNS  GONE | CONDEMNED
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock
redis.call('ZREM', K.workers, A.id)
if redis.call('HGET', K.leader, 'id') == A.id then redis.call('HSET', K.leader, 'until', 0) end
if redis.call('HLEN', K.held) == 0 then
  redis.call('DEL', K.worker)
  redis.call('ZREM', K.condemned, A.id)
  return {'GONE'}
end
redis.call('ZADD', K.condemned, clock(A.now), A.id)
return {'CONDEMNED'}
