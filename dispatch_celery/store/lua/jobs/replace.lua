-- PURPOSE  Gives a job whose attempt has not begun other arguments, and lets its delay begin anew. What it asked its limits
--          for it asks for anew, in its place: by its arguments a limit may tell it apart.
-- KEYS     record timers limits permits
-- ARGV     now id spec payload delay
--          delay: ms, or empty to leave its time as it is.
-- RETURNS  DONE state | STATE state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock timer gate keyed post yield withdraw park
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'name', 'lane', 'permits', 'limit', 'limited_at', 'spec',
  'payload')
local state = seen[1] or 'missing'
if state ~= 'scheduled' and state ~= 'limited' and state ~= 'pending' and state ~= 'retrying' then return {'STATE', state} end
redis.call('HSET', K.record, 'spec', A.spec, 'payload', A.payload)
if state == 'scheduled' and A.delay ~= '' then set_timer(A.id, now + tonumber(A.delay)) end
if seen[7] == A.spec and seen[8] == A.payload then return {'DONE', state} end
if keyed(seen[4]) then
  if state == 'limited' then
    withdraw(A.id, now)
    park(K.record, A.id, gate(seen[2], seen[3], false) or seen[5], now)
  else
    yield(A.id, seen[4], now)
  end
elseif state == 'limited' then
  park(K.record, A.id, seen[5], now)
  redis.call('HSET', K.record, 'limited_at', seen[6])
end
return {'DONE', state}
