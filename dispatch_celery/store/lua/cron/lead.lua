-- PURPOSE  Takes or keeps the cron lead, and tells what is due. Who ranks higher takes it from who ranks lower.
-- KEYS     leader slots chores
-- ARGV     now id nonce rank eager lease limit
--          rank: 1 of a worker, 2 of a beat, which also has a schedule of its own to send; eager: 1 to lead although no
--          entry waits. lease: ms, 0 to resign; limit: how many due entries, and how many chores, are told.
-- RETURNS  LEADS now term after entries *due (ids of entries, then chores) | FOLLOWS now leader | IDLE now
--          after: when the next is due, ms since 1970, or empty; entries: how many of the due are entries.
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n + limit)
-- INCLUDE  clock
local now = clock(A.now)
local told = string.format('%.0f', now)
local leader = redis.call('HMGET', K.leader, 'id', 'term', 'nonce', 'until', 'rank', 'lease')
local mine = leader[1] == A.id and leader[3] == A.nonce
if A.lease == '0' then
  if mine then redis.call('HSET', K.leader, 'until', 0, 'resigned_at', told) end
  return {'IDLE', told}
end
-- Beyond two leases there is none: the clock was set back, and who led may be dead.
local left = tonumber(leader[4] or 0) - now
local taken = left > 0 and left <= 2 * tonumber(leader[6] or A.lease) and tonumber(leader[5] or 0) >= tonumber(A.rank)
if not mine and taken then return {'FOLLOWS', told, leader[1]} end
local slot = redis.call('ZRANGE', K.slots, 0, 0, 'WITHSCORES')
local chore = redis.call('ZRANGE', K.chores, 0, 0, 'WITHSCORES')
if A.eager ~= '1' and not slot[2] and not chore[2] then return {'IDLE', told} end

local term = mine and leader[2] or tostring((tonumber(leader[2]) or 0) + 1)
redis.call('HSET', K.leader, 'id', A.id, 'term', term, 'nonce', A.nonce, 'rank', A.rank, 'lease', A.lease,
  'until', string.format('%.0f', now + tonumber(A.lease)))
local first = math.min(tonumber(slot[2] or math.huge), tonumber(chore[2] or math.huge))
local after = first
local entries, chores = {}, {}
if first <= now then
  entries = redis.call('ZRANGEBYSCORE', K.slots, '-inf', now, 'LIMIT', 0, tonumber(A.limit))
  chores = redis.call('ZRANGEBYSCORE', K.chores, '-inf', now, 'LIMIT', 0, tonumber(A.limit))
  local later = '(' .. told
  slot = redis.call('ZRANGEBYSCORE', K.slots, later, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  chore = redis.call('ZRANGEBYSCORE', K.chores, later, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  after = math.min(tonumber(slot[2] or math.huge), tonumber(chore[2] or math.huge))
end
local reply = {'LEADS', told, term .. '.' .. A.nonce, after == math.huge and '' or string.format('%.0f', after), tostring(#entries)}
for _, id in ipairs(entries) do reply[#reply + 1] = id end
for _, chore_name in ipairs(chores) do reply[#reply + 1] = chore_name end
return reply
