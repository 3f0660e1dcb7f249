-- PURPOSE  Renews a worker's lease; takes or keeps the lead; tells who leads, what is due, and what this worker holds.
-- KEYS     workers worker held leader running running_runs timers marks expiry condemned lanes unknown permits grants
-- ARGV     now id lease leader_lease nonce volunteer state with_held
--          volunteer: 1 to take the lead when nobody has it; with_held: 1 for the holdings.
-- RETURNS  RENEWED now leader term until running timers marks expiry leases condemned lanes unknown permits *held | LOST now
--          timers, marks, expiry, leases: when the first is due, ms since 1970, or empty.
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n + held)
-- INCLUDE  clock relieve
local now = clock(A.now)
if not redis.call('ZSCORE', K.workers, A.id) then return {'LOST', string.format('%.0f', now)} end
relieve(K.workers)
redis.call('ZADD', K.workers, now + tonumber(A.lease), A.id)
redis.call('HSET', K.worker, 'seen_at', now, 'state', A.state)

local leader = redis.call('HMGET', K.leader, 'id', 'term', 'nonce', 'until')
local mine = leader[1] == A.id and leader[3] == A.nonce
local free = not leader[4] or tonumber(leader[4]) <= now
if A.volunteer == '1' and (mine or free) then
  local term = mine and leader[2] or tostring((tonumber(leader[2]) or 0) + 1)
  leader = {A.id, term, A.nonce, string.format('%.0f', now + tonumber(A.leader_lease))}
  redis.call('HSET', K.leader, 'id', A.id, 'term', term, 'nonce', A.nonce, 'until', leader[4])
end

local function first(set) return redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2] or '' end
local running = redis.call('ZCARD', K.running) + redis.call('ZCARD', K.running_runs)
local reply = {'RENEWED', string.format('%.0f', now), leader[1] or '', (leader[2] or '0') .. '.' .. (leader[3] or ''),
  leader[4] or '0', tostring(running), first(K.timers), first(K.marks), first(K.expiry), first(K.workers), tostring(redis.call('ZCARD', K.condemned)), tostring(redis.call('SCARD', K.lanes)),
  tostring(redis.call('ZCARD', K.unknown)), tostring(redis.call('ZCARD', K.permits) + redis.call('ZCARD', K.grants))}
if A.with_held == '1' then
  for _, word in ipairs(redis.call('HGETALL', K.held)) do reply[#reply + 1] = word end
end
return reply
