-- PURPOSE  Fires the slot an entry has queued, as soon as what it created last has ended; at once where it may overlap by
--          now.
-- KEYS     entry fires chores leader record to_state to_name scope lane lanes marks journal due timers *before
-- ARGV     now journal cron term revision slot id last run_now lane scoped timeout grace event *fields
--          slot: the queued slot as the caller knows it; the others as for cron/fire.
-- RETURNS  FIRED now | REPEATED now (the slot was fired before) | WAITING now | STALE | GONE
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS new>pending
-- COST     O(log n)
-- INCLUDE  clock journal ready arm term born active noted
local refusal = reigns(A.term)
if refusal then return refusal end
local now = clock(A.now)
local seen = redis.call('HMGET', K.entry, 'revision', 'queued_slot', 'last_id', 'triggered_id', 'overlap')
if not seen[2] then
  redis.call('ZREM', K.chores, 'queued ' .. A.cron)
  return {'GONE'}
end
if seen[1] ~= A.revision or seen[2] ~= A.slot or (seen[3] or '') ~= A.last or (seen[4] or '') ~= A.run_now then
  return {'STALE'}
end
local busy, beside = active(KEYS[MORE]), active(KEYS[MORE + 1])
if (busy or beside) and (seen[5] == 'skip' or seen[5] == 'queue_one') then
  redis.call('ZADD', K.chores, now + tonumber(A.grace), 'queued ' .. A.cron)
  return {'WAITING', string.format('%.0f', now)}
end
redis.call('ZREM', K.chores, 'queued ' .. A.cron)
redis.call('HDEL', K.entry, 'queued_slot')
if not born(A.id, now) then return {'REPEATED', string.format('%.0f', now)} end
redis.call('HSET', K.entry, 'last_id', A.id, 'last_slot', A.slot, 'last_at', now)
if seen[5] == 'cancel_previous' then
  if busy then redis.call('ZADD', K.chores, now, 'cancel ' .. A.cron .. ' ' .. A.last) end
  if beside then redis.call('ZADD', K.chores, now, 'cancel ' .. A.cron .. ' ' .. A.run_now) end
end
noted('fired', A.slot, now, A.id)
return {'FIRED', string.format('%.0f', now)}
