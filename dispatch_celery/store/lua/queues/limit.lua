-- PURPOSE  Sets, changes or pauses a limit, live; its permits and what waits for them stay.
-- KEYS     limit names
-- ARGV     now limit ends *fields
--          ends: when a pause is to end, which leaves one that lasts longer as it is; empty: no such pause.
--          fields: name and value in turn; an empty value takes the field away.
-- RETURNS  DONE revision
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(fields + log n)
-- INCLUDE  clock
local now = clock(A.now)
local there = redis.call('HMGET', K.limit, 'paused', 'paused_until', 'revision')
if A.ends ~= '' and there[1] and tonumber(there[2] or math.huge) >= tonumber(A.ends) then return {'DONE', there[3]} end
redis.call('HSETNX', K.limit, 'created_at', now)
-- From the time on: one that is made anew must not have a revision that an older one had, which somebody may still report.
redis.call('HSETNX', K.limit, 'revision', string.format('%.0f', now * 1000))
for at = REST, #ARGV, 2 do
  if ARGV[at + 1] == '' then redis.call('HDEL', K.limit, ARGV[at]) else redis.call('HSET', K.limit, ARGV[at], ARGV[at + 1]) end
end
redis.call('HSET', K.limit, 'review', '')
redis.call('ZADD', K.names, 'NX', now, A.limit)
return {'DONE', string.format('%.0f', redis.call('HINCRBY', K.limit, 'revision', 1))}
