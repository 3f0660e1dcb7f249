-- PURPOSE  Lists what is due in a set ordered by time, and when the next is.
-- KEYS     set
-- ARGV     now limit
-- RETURNS  now next *members   (next: ms since 1970, empty if there is none)
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n + limit)
-- INCLUDE  clock
local now = clock(A.now)
local members = redis.call('ZRANGEBYSCORE', K.set, '-inf', now, 'LIMIT', 0, tonumber(A.limit))
local after = redis.call('ZRANGEBYSCORE', K.set, '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local reply = {string.format('%.0f', now), after[2] or ''}
for _, member in ipairs(members) do reply[#reply + 1] = member end
return reply
