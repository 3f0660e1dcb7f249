-- PURPOSE  Tells a run that something was published where it waits: it wakes and looks, or looks before it rests.
-- KEYS     record from_state from_name to_state to_name lane lanes marks waits journal
-- ARGV     now journal id lane identity grace
-- RETURNS  READY wake | NOTED | GONE (it waits there no longer)
-- ERRORS   none
-- TRANSITIONS waiting>pending
-- COST     O(log n)
-- INCLUDE  clock journal relieve move ready wake
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'undoing')
local state = seen[1]
if not state or seen[3] or state == 'completed' or state == 'failed' or state == 'cancelled' then return {'GONE'} end
relieve(K.lane)
if state ~= 'waiting' then
  redis.call('HSET', K.record, 'nudged', 1)
  return {'NOTED'}
end
if redis.call('SISMEMBER', K.waits, A.identity) == 0 then
  if redis.call('SCARD', K.waits) > 0 then return {'GONE'} end
  redis.call('HSET', K.record, 'nudged', 1)  -- it pauses after a crash, or has not begun
  return {'NOTED'}
end
local wake = wake_run(A.id, A.lane, now, seen[2], tonumber(A.grace))
journal('dispatch.run.ready', A.id, 'waiting', 'pending', '')
return {'READY', wake}
