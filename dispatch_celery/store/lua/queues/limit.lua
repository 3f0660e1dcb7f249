-- PURPOSE  Sets, changes or pauses a limit, live; its permits and what waits for them stay. What neither limits nor pauses
--          any more is lifted: whoever waits goes.
-- KEYS     limit names weights known buckets declared
-- ARGV     now limit ends declaration weights *fields
--          ends: when a pause is to end, which leaves one that lasts longer as it is; empty: no such pause.
--          declaration: what an app has declared, which is set only where it was not the last; empty: not by an app.
--          weights: of keys, as a JSON object, instead of those there are; empty: leave them.
--          fields: name and value in turn; an empty value takes the field away.
-- RETURNS  DONE revision | SAME revision
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(fields + weights + log n)
-- INCLUDE  clock
local now = clock(A.now)
local there = redis.call('HMGET', K.limit, 'paused', 'paused_until', 'revision', 'by')
if A.ends ~= '' and there[1] and tonumber(there[2] or math.huge) >= tonumber(A.ends) then return {'SAME', there[3]} end
if A.declaration ~= '' then
  if redis.call('HGET', K.declared, A.limit) == A.declaration then return {'SAME', there[3] or '0'} end
  redis.call('HSET', K.declared, A.limit, A.declaration)
end
redis.call('HSETNX', K.limit, 'created_at', now)
-- From the time on: one that is made anew must not have a revision that an older one had, which somebody may still report.
redis.call('HSETNX', K.limit, 'revision', string.format('%.0f', now * 1000))
for at = REST, #ARGV, 2 do
  if ARGV[at + 1] == '' then redis.call('HDEL', K.limit, ARGV[at]) else redis.call('HSET', K.limit, ARGV[at], ARGV[at + 1]) end
end
if A.weights ~= '' then
  redis.call('DEL', K.weights)
  for key, weight in pairs(cjson.decode(A.weights)) do redis.call('HSET', K.weights, key, weight) end
end
local seen = redis.call('HMGET', K.limit, 'spoken', 'paused', 'by')
if seen[1] or seen[2] then
  redis.call('HDEL', K.limit, 'lifted')
  if seen[3] ~= there[4] then
    -- Whoever is known is known by another key: nothing is handed out until all have theirs anew.
    if redis.call('HLEN', K.known) > 0 then redis.call('HSET', K.limit, 'rekey', '0') end
    redis.call('DEL', K.buckets)
  end
else
  redis.call('HDEL', K.limit, 'rekey')
  redis.call('HSET', K.limit, 'lifted', '1')
end
redis.call('HSET', K.limit, 'review', '')
redis.call('ZADD', K.names, 'NX', now, A.limit)
return {'DONE', string.format('%.0f', redis.call('HINCRBY', K.limit, 'revision', 1))}
