-- PURPOSE  Moves on what of a run is due: sleeps end, waits are looked at a last time, retries and the start come, the deadline passes.
-- KEYS     record from_state from_name to_state to_name lane lanes marks promises waits due timers held worker leader journal
-- ARGV     now journal id lane grace term limit holder
--          from_state, from_name: of waiting; grace: ms; limit: how many promises one call resolves; holder: the
--          incarnation the caller saw, or empty; held and worker belong to it.
-- RETURNS  READY wake | NOTHING state | EXPIRED reason (its time is up while it runs)
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS waiting>pending
-- COST     O(limit log n)
-- INCLUDE  clock journal term entry move ready wake strike arm
local now = clock(A.now)
local lost = reigns(A.term)
if lost then return lost end
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'holder', 'token', 'undoing')
local due = redis.call('ZRANGEBYSCORE', K.due, '-inf', now, 'LIMIT', 0, A.limit)
local woken, expired = false, false
for _, what in ipairs(due) do
  -- Who holds it by now is not told here: the leader looks again, and tells that one.
  local elsewhere = what == 'deadline' and seen[1] == 'running' and seen[3] ~= A.holder
  if not elsewhere then redis.call('ZREM', K.due, what) end
  if elsewhere then
    expired = false
  elseif what == 'start' or what == 'pause' then
    woken = true
  elseif what == 'deadline' then
    -- What is being undone has no deadline any more.
    expired = not seen[5]
    if expired then redis.call('HSETNX', K.record, 'cancel', 'timeout') end
    woken = woken or expired
  else
    local before = redis.call('HGET', K.promises, what)
    local status = before and string.match(before, '^%a+')
    local rest = before and string.match(before, '^%a+ %S+ %S+ (.*)$')
    -- A wait for an event is not resolved here: of what was published in time its run may not have heard yet. It looks
    -- once more, from now on, and ``suspend`` resolves it if that finds nothing.
    if status == 'awaiting' and seen[1] == 'running' then redis.call('HSET', K.record, 'nudged', 1) end
    if status == 'sleeping' then
      local seq = redis.call('HINCRBY', K.record, 'seq', 1)
      redis.call('HSET', K.promises, what, entry('value', seq, now, rest))
    end
    if status == 'retrying' then
      woken = woken or redis.call('SISMEMBER', K.waits, what) == 1
    elseif strike(what, false) then
      woken = true
    end
  end
end
arm(A.id)
if expired and seen[1] == 'running' then
  local holding = redis.call('HGET', K.held, A.id)
  local told = holding and string.find(holding, ' cancel', 1, true)
  if holding and not told then redis.call('HSET', K.held, A.id, holding .. ' cancel') end
  redis.call('PUBLISH', K.worker, 'cancel ' .. A.id .. ' ' .. seen[4])
  return {'EXPIRED', 'timeout'}
end
if not woken or seen[1] ~= 'waiting' then return {'NOTHING', seen[1] or 'missing'} end
local wake = wake_run(A.id, A.lane, now, seen[2], tonumber(A.grace))
journal('dispatch.run.ready', A.id, 'waiting', 'pending', '')
return {'READY', wake}
