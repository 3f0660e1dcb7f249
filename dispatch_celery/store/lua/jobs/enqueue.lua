-- PURPOSE  Writes a new job: its record, its indexes, its idempotency key, and a timer, a ready mark, or a request for a permit.
-- KEYS     record to_state to_name later_state later_name scope lane lanes marks timers idempotency limits limited_state limited_name permits journal
-- ARGV     now journal id name lane scoped delay run_at expires digest take period grace *fields
--          delay, expires, grace: ms; run_at: ms since 1970; each may be empty. fields: name and value in turn.
--          take: the job whose key this one takes over; period: ms the key is held, whatever becomes of the job; or empty.
-- RETURNS  CREATED state now | REPEATED state | EXISTING id | CONFLICT id
-- ERRORS   none
-- TRANSITIONS new>pending new>scheduled new>limited
-- COST     O(log n)
-- INCLUDE  clock journal timer ready gate post park
local now = clock(A.now)
local state = redis.call('HGET', K.record, 'state')
if state then return {'REPEATED', state} end
if A.digest ~= '' then
  local first = redis.call('GET', K.idempotency)
  if first then
    local id, digest = string.match(first, '^(%S+) (%S+)$')
    if id ~= A.take then return {digest == A.digest and 'EXISTING' or 'CONFLICT', id} end
  end
end

local due = A.run_at ~= '' and tonumber(A.run_at) or (A.delay ~= '' and now + tonumber(A.delay)) or now
local limit = due <= now and gate(A.name, A.lane, nil)
state = due > now and 'scheduled' or (limit and 'limited' or 'pending')
redis.call('HSET', K.record, 'state', state, 'created_at', now, 'lane', A.lane, unpack(ARGV, REST))
if A.expires ~= '' then redis.call('HSET', K.record, 'expires_at', now + tonumber(A.expires)) end
if A.digest ~= '' then redis.call('SET', K.idempotency, A.id .. ' ' .. A.digest) end
if A.period ~= '' then redis.call('PEXPIRE', K.idempotency, A.period) end
if state == 'pending' then
  redis.call('ZADD', K.to_state, now, A.id)
  redis.call('ZADD', K.to_name, now, A.id)
  make_ready(A.id, A.lane, now, tonumber(A.grace))
elseif state == 'limited' then
  redis.call('ZADD', K.limited_state, now, A.id)
  redis.call('ZADD', K.limited_name, now, A.id)
  park(K.record, A.id, limit, now)
else
  redis.call('ZADD', K.later_state, now, A.id)
  redis.call('ZADD', K.later_name, now, A.id)
  set_timer(A.id, due)
end
if A.scoped == '1' then redis.call('ZADD', K.scope, now, A.id) end
journal('dispatch.job.enqueued', A.id, 'new', state, '')
return {'CREATED', state, string.format('%.0f', now)}
