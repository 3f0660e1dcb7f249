-- PURPOSE  Sets, changes or pauses a limit, live; its permits and what waits for them stay. What neither limits nor pauses
--          any more is lifted: whoever waits goes. Leaves word for the leader, since its caller may die here.
-- KEYS     limit names weights known buckets declared permits
-- ARGV     now limit ends declaration weights *words
--          ends: when a pause is to end, which leaves one that lasts longer as it is; empty: no such pause.
--          declaration: what an app has declared, which is set only where it was not the last; empty: not by an app.
--          weights: how many keys are given a weight, instead of those that had one; empty: those keep theirs.
--          words: these keys and their weights in turn, then fields and their values; an empty value takes a field away.
-- RETURNS  DONE revision | SAME revision
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(words + log n)
-- INCLUDE  clock
local now = clock(A.now)
local there = redis.call('HMGET', K.limit, 'paused', 'paused_until', 'revision', 'by', 'unkeyed')
if A.ends ~= '' and there[1] and tonumber(there[2] or math.huge) >= tonumber(A.ends) then return {'SAME', there[3]} end
if A.declaration ~= '' then
  if redis.call('HGET', K.declared, A.limit) == A.declaration then return {'SAME', there[3] or '0'} end
  redis.call('HSET', K.declared, A.limit, A.declaration)
end
redis.call('HSETNX', K.limit, 'created_at', now)
-- From the time on: one that is made anew must not have a revision that an older one had, which somebody may still report.
redis.call('HSETNX', K.limit, 'revision', string.format('%.0f', now * 1000))
local fields = REST + 2 * (tonumber(A.weights) or 0)
if A.weights ~= '' then redis.call('DEL', K.weights) end
for at = REST, fields - 1, 2 do redis.call('HSET', K.weights, ARGV[at], ARGV[at + 1]) end
for at = fields, #ARGV, 2 do
  if ARGV[at + 1] == '' then redis.call('HDEL', K.limit, ARGV[at]) else redis.call('HSET', K.limit, ARGV[at], ARGV[at + 1]) end
end
local seen = redis.call('HMGET', K.limit, 'spoken', 'paused', 'by')
if seen[1] or seen[2] then
  redis.call('HDEL', K.limit, 'lifted')
  if seen[3] ~= there[4] or there[5] then
    -- Whoever is known is known by another key: nothing is handed out until all have theirs anew. From the beginning, and
    -- by the change that asks for it: what somebody still does for an earlier one is none of it.
    if redis.call('HLEN', K.known) > 0 then redis.call('HSET', K.limit, 'rekey', '0 ' .. (there[3] or '')) end
    redis.call('HDEL', K.limit, 'unkeyed')
    redis.call('DEL', K.buckets)
  end
else
  -- Whoever waits goes, by whatever key; who still waits when a limit is set again gets one then.
  if redis.call('HDEL', K.limit, 'rekey') == 1 or seen[3] ~= there[4] then redis.call('HSET', K.limit, 'unkeyed', '1') end
  redis.call('HSET', K.limit, 'lifted', '1')
end
redis.call('HSET', K.limit, 'review', '')
redis.call('ZADD', K.names, 'NX', now, A.limit)
local revision = string.format('%.0f', redis.call('HINCRBY', K.limit, 'revision', 1))
redis.call('ZADD', K.permits, 0, 'look set ' .. revision .. ' ' .. A.limit)
redis.call('PUBLISH', K.permits, 'look')
return {'DONE', revision}
