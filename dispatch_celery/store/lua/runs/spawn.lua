-- PURPOSE  Writes the members of a held run, jobs or child runs of one name and lane, with the promises it waits for them by.
-- KEYS     record promises undos open to_state to_name scope lane lanes marks timers journal *members
--          members: the records; of child runs then their due times, in the same order.
-- ARGV     now journal token revision op kind state name lane scoped due expires timeout grace detached *specs
--          kind: job or run; state: pending, scheduled or waiting; due: ms since 1970, or empty where it is ready at
--          once; expires, timeout: ms or empty; detached: 1 where the run's end does not concern them.
--          specs: identity, rest, id, spec, payload and version (of a run) in turn.
-- RETURNS  DONE now | REPEATED state | CANCELLING reason | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(m log n) for m members
-- INCLUDE  clock journal hold entry
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local cancel = redis.call('HGET', K.record, 'cancel')
if cancel then return {'CANCELLING', cancel} end
local next = redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES')
local count = (#ARGV - REST + 1) / 6
local seq = redis.call('HINCRBY', K.record, 'seq', 1)
local due = A.due ~= '' and tonumber(A.due) or nil
local soonest = due or (A.kind == 'run' and A.timeout ~= '' and now + tonumber(A.timeout)) or nil
for n = 0, count - 1 do
  local at = REST + n * 6
  local identity, rest, id = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  redis.call('HSET', K.promises, identity, entry('open', 0, 0, rest))
  if A.detached ~= '1' then
    redis.call('HSET', K.undos, identity, entry('open', seq, now, rest))
    redis.call('ZADD', K.open, seq, identity)
  end
  redis.call('HSET', KEYS[MORE + n], 'state', A.state, 'created_at', now, 'lane', A.lane, 'name', A.name,
    'spec', ARGV[at + 3], 'payload', ARGV[at + 4], 'wake', 1)
  redis.call('ZADD', K.to_state, now, id)
  redis.call('ZADD', K.to_name, now, id)
  if A.scoped == '1' then redis.call('ZADD', K.scope, now, id) end
  if A.expires ~= '' then redis.call('HSET', KEYS[MORE + n], 'expires_at', now + tonumber(A.expires)) end
  if A.kind == 'run' then
    redis.call('HSET', KEYS[MORE + n], 'version', ARGV[at + 5])
    if A.timeout ~= '' then redis.call('ZADD', KEYS[MORE + count + n], (due or now) + tonumber(A.timeout), 'deadline') end
    if due then redis.call('ZADD', KEYS[MORE + count + n], due, 'start') end
  end
  if due then
    redis.call('ZADD', K.timers, due, id)
    if A.kind == 'job' then redis.call('HSET', KEYS[MORE + n], 'due_at', due) end
  else
    redis.call('ZADD', K.lane, now, id)
    redis.call('ZADD', K.marks, now + tonumber(A.grace), id .. ':1')
    if soonest then redis.call('ZADD', K.timers, soonest, id) end
  end
  journal('dispatch.' .. A.kind .. '.enqueued', id, 'new', A.state, '')
end
if not due then redis.call('SADD', K.lanes, A.lane) end
if soonest and (not next[2] or soonest < tonumber(next[2])) then redis.call('PUBLISH', K.timers, 'due') end
redis.call('HSET', K.record, 'revision', tonumber(A.revision) + 1, 'op', A.op)
return {'DONE', string.format('%.0f', now)}
