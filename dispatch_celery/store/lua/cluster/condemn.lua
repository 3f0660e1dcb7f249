-- PURPOSE  Ends the incarnations whose lease has run out; what they hold may now be recovered.
-- KEYS     workers condemned leader
-- ARGV     now term limit
-- RETURNS  now *ids
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(limit log n)
-- INCLUDE  clock term
local lost = reigns(A.term)
if lost then return lost end
local now = clock(A.now)
local reply = {string.format('%.0f', now)}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.workers, '-inf', now, 'LIMIT', 0, tonumber(A.limit))) do
  redis.call('ZREM', K.workers, id)
  redis.call('ZADD', K.condemned, now, id)
  reply[#reply + 1] = id
end
return reply
