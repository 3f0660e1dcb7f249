-- PURPOSE  Ends the incarnations whose lease has run out, and tells whose work may now be recovered.
-- KEYS     workers condemned leader running running_runs
-- ARGV     now term limit
-- RETURNS  now running next *ids
--          next: ms until the first lease of those that are left ends, or empty.
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(limit log n)
-- INCLUDE  clock term
local lost = reigns(A.term)
if lost then return lost end
local now = clock(A.now)
local limit = tonumber(A.limit)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.workers, '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', K.workers, id)
  redis.call('ZADD', K.condemned, now, id)
end
local running = redis.call('ZCARD', K.running) + redis.call('ZCARD', K.running_runs)
local next = redis.call('ZRANGE', K.workers, 0, 0, 'WITHSCORES')[2]
local reply = {string.format('%.0f', now), tostring(running), next and string.format('%.0f', tonumber(next) - now) or ''}
for _, id in ipairs(redis.call('ZRANGE', K.condemned, 0, limit - 1)) do reply[#reply + 1] = id end
return reply
