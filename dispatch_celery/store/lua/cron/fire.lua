-- PURPOSE  Fires one slot of an entry, once: creates its job or run, if what it created last allows it, and moves on.
-- KEYS     entry fires slots chores leader record to_state to_name scope lane lanes marks journal due timers *before
-- ARGV     now journal cron term revision slot fired next next_due id last run_now lane scoped timeout grace event *fields
--          slot: the entry's next slot as the caller knows it; fired: the slot to fire, which may be a later one, or
--          empty to pass over what was missed; next, next_due: the slot behind, and when it is to be fired; empty: none.
--          id: of what is created; last: the id of what a slot created last, run_now: of what was triggered last, whose
--          records are `before`; or empty.
--          timeout, grace: ms. fields: of the record, name and value in turn.
-- RETURNS  FIRED now | REPEATED now (the slot was fired or queued before) | QUEUED now | OVERLAPPED now | PASSED now
--          | EARLY (it is not due yet) | STALE | GONE
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS new>pending
-- COST     O(log n)
-- INCLUDE  clock journal ready arm term born active noted
local refusal = reigns(A.term)
if refusal then return refusal end
local now = clock(A.now)
local seen = redis.call('HMGET', K.entry, 'revision', 'next_slot', 'last_id', 'overlap', 'queued_slot', 'next_due',
  'enabled', 'orphaned_at', 'triggered_id')
if not seen[1] then return {'GONE'} end
if seen[1] ~= A.revision or seen[2] ~= A.slot or (seen[3] or '') ~= A.last or (seen[9] or '') ~= A.run_now then
  return {'STALE'}
end
if seen[7] ~= '1' or seen[8] then
  redis.call('ZREM', K.slots, A.cron)
  return {'STALE'}
end
if tonumber(seen[6]) > now then return {'EARLY'} end

local looks = A.fired ~= '' and seen[4] ~= 'allow'
local busy, beside = looks and active(KEYS[MORE]), looks and active(KEYS[MORE + 1])
local outcome = 'FIRED'
if A.fired == '' then
  outcome = 'PASSED'
elseif seen[5] == A.fired or redis.call('EXISTS', K.record) == 1 then
  -- A slot that comes again, since a clock was set back, is no second fire, and takes no other's place.
  outcome = 'REPEATED'
elseif (seen[5] and (seen[4] == 'skip' or seen[4] == 'queue_one')) or ((busy or beside) and seen[4] == 'skip') then
  outcome = 'OVERLAPPED'
elseif (busy or beside) and seen[4] == 'queue_one' then
  outcome = 'QUEUED'
end
if A.next == '' then redis.call('ZREM', K.slots, A.cron) else redis.call('ZADD', K.slots, A.next_due, A.cron) end
redis.call('HSET', K.entry, 'next_slot', A.next, 'next_due', A.next_due)
if outcome == 'REPEATED' then return {'REPEATED', string.format('%.0f', now)} end
if outcome == 'FIRED' then
  born(A.id, now)
  redis.call('HSET', K.entry, 'last_id', A.id, 'last_slot', A.fired, 'last_at', now)
  if busy then redis.call('ZADD', K.chores, now, 'cancel ' .. A.cron .. ' ' .. A.last) end
  if beside then redis.call('ZADD', K.chores, now, 'cancel ' .. A.cron .. ' ' .. A.run_now) end
elseif outcome == 'QUEUED' then
  redis.call('HSET', K.entry, 'queued_slot', A.fired)
  redis.call('ZADD', K.chores, now + tonumber(A.grace), 'queued ' .. A.cron)
end
noted(string.lower(outcome), A.fired == '' and A.slot or A.fired, now, outcome == 'FIRED' and A.id or '')
return {outcome, string.format('%.0f', now)}
