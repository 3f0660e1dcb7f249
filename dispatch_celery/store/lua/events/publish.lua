-- PURPOSE  Stores an event under its topic, once, with a note for whoever tells the runs that wait there.
-- KEYS     record topic waiters events fanout
-- ARGV     now id digest name key scope payload retain cap grace
--          retain: ms it can be found; cap: how many a topic may hold, or empty; grace: ms until others tell the waiters.
-- RETURNS  STORED place waiters | REPEATED place | FULL count
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n) in the events of the topic
-- INCLUDE  clock
local now = clock(A.now)
local before = redis.call('HGET', K.record, 'place')
if before then return {'REPEATED', before} end
local oldest = now - tonumber(A.retain)
local count = redis.call('ZCOUNT', K.topic, string.format('(%.0f', oldest * 1000), '+inf')
if A.cap ~= '' and count >= tonumber(A.cap) then return {'FULL', tostring(count)} end
-- Places grow even where the clock does not: the order of a topic is the order in which its events were stored.
local last = redis.call('ZRANGE', K.topic, -1, -1, 'WITHSCORES')
local place = math.max(now * 1000, (tonumber(last[2]) or 0) + 1)
-- No removal comes before this: a full server refuses an event as it refuses a job.
redis.call('HSET', K.record, 'name', A.name, 'key', A.key, 'scope', A.scope, 'payload', A.payload, 'at', now,
  'place', string.format('%.0f', place), 'topic', A.digest)
redis.call('PEXPIRE', K.record, A.retain)
redis.call('ZREMRANGEBYSCORE', K.topic, '-inf', oldest * 1000)
redis.call('ZREMRANGEBYSCORE', K.events, '-inf', oldest)
redis.call('ZADD', K.topic, place, A.id)
redis.call('PEXPIRE', K.topic, A.retain)
redis.call('ZADD', K.events, now, A.id)
local waiters = redis.call('HLEN', K.waiters)
if waiters > 0 then redis.call('ZADD', K.fanout, now + tonumber(A.grace), A.digest .. ' ' .. A.id) end
return {'STORED', string.format('%.0f', place), tostring(waiters)}
