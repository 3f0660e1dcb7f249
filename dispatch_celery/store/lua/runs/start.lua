-- PURPOSE  Stores a new run with its indexes, its idempotency key, its deadline, and a ready mark or a timer.
-- KEYS     record to_state to_name later_state later_name scope lane lanes marks timers due promises idempotency journal
-- ARGV     now journal id lane delay run_at timeout grace scoped digest copied seq *words
--          delay, timeout, grace: ms; run_at: ms since 1970; each may be empty. words: first `copied` promises of the run
--          it is forked from, identity and entry in turn, then fields, name and value in turn; seq: the last place among them.
-- RETURNS  CREATED state now | REPEATED state | EXISTING id | CONFLICT id
-- ERRORS   none
-- TRANSITIONS new>pending new>waiting
-- COST     O(log n), and O(m) for m promises copied
-- INCLUDE  clock journal arm ready
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
state = due > now and 'waiting' or 'pending'
redis.call('HSET', K.record, 'state', state, 'created_at', now, 'lane', A.lane, unpack(ARGV, REST + 2 * tonumber(A.copied)))
for at = REST, REST + 2 * tonumber(A.copied) - 1, 2 do redis.call('HSET', K.promises, ARGV[at], ARGV[at + 1]) end
if A.seq ~= '' then redis.call('HSET', K.record, 'seq', A.seq) end
if A.digest ~= '' then redis.call('SET', K.idempotency, A.id .. ' ' .. A.digest) end
redis.call('ZADD', state == 'pending' and K.to_state or K.later_state, now, A.id)
redis.call('ZADD', state == 'pending' and K.to_name or K.later_name, now, A.id)
if A.scoped == '1' then redis.call('ZADD', K.scope, now, A.id) end
if A.timeout ~= '' then redis.call('ZADD', K.due, due + tonumber(A.timeout), 'deadline') end
if state == 'waiting' then redis.call('ZADD', K.due, due, 'start') end
if state == 'waiting' or A.timeout ~= '' then arm(A.id) end
if state == 'pending' then make_ready(A.id, A.lane, now, tonumber(A.grace)) end
journal('dispatch.run.enqueued', A.id, 'new', state, '')
return {'CREATED', state, string.format('%.0f', now)}
