-- PURPOSE  Gives a job whose attempt has not begun other arguments, and lets its delay begin anew.
-- KEYS     record timers
-- ARGV     now id spec payload delay
--          delay: ms, or empty to leave its time as it is.
-- RETURNS  DONE state | STATE state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock timer
local now = clock(A.now)
local state = redis.call('HGET', K.record, 'state') or 'missing'
if state ~= 'scheduled' and state ~= 'limited' and state ~= 'pending' and state ~= 'retrying' then return {'STATE', state} end
redis.call('HSET', K.record, 'spec', A.spec, 'payload', A.payload)
if state == 'scheduled' and A.delay ~= '' then set_timer(A.id, now + tonumber(A.delay)) end
return {'DONE', state}
