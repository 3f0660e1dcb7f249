-- PURPOSE  Writes a new job: its record, its indexes, its idempotency key, and a timer or a ready mark.
-- KEYS     record to_state to_name later_state later_name scope lane lanes marks timers idempotency journal
-- ARGV     now journal id lane scoped delay run_at expires digest grace *fields
--          delay, expires, grace: ms; run_at: ms since 1970; each may be empty. fields: name and value in turn.
-- RETURNS  CREATED state now | REPEATED state | EXISTING id | CONFLICT id
-- ERRORS   none
-- TRANSITIONS new>pending new>scheduled
-- COST     O(log n)
-- INCLUDE  clock journal timer ready
local now = clock(A.now)
local state = redis.call('HGET', K.record, 'state')
if state then return {'REPEATED', state} end
if A.digest ~= '' then
  local first = redis.call('GET', K.idempotency)
  if first then
    local id, digest = string.match(first, '^(%S+) (%S+)$')
    return {digest == A.digest and 'EXISTING' or 'CONFLICT', id}
  end
end

local due = A.run_at ~= '' and tonumber(A.run_at) or (A.delay ~= '' and now + tonumber(A.delay)) or now
state = due > now and 'scheduled' or 'pending'
redis.call('HSET', K.record, 'state', state, 'created_at', now, 'lane', A.lane, unpack(ARGV, REST))
if A.expires ~= '' then redis.call('HSET', K.record, 'expires_at', now + tonumber(A.expires)) end
if A.digest ~= '' then redis.call('SET', K.idempotency, A.id .. ' ' .. A.digest) end
redis.call('ZADD', state == 'pending' and K.to_state or K.later_state, now, A.id)
redis.call('ZADD', state == 'pending' and K.to_name or K.later_name, now, A.id)
if A.scoped == '1' then redis.call('ZADD', K.scope, now, A.id) end
if state == 'pending' then make_ready(A.id, A.lane, now, tonumber(A.grace)) else set_timer(A.id, due) end
journal('dispatch.job.enqueued', A.id, 'new', state, '')
return {'CREATED', state, string.format('%.0f', now)}
