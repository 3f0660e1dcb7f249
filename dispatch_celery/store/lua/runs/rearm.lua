-- PURPOSE  Gives a run that has something due the timer it has lost.
-- KEYS     record due timers leader
-- ARGV     id term
-- RETURNS  ARMED | LEFTOVER state
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  term arm
local lost = reigns(A.term)
if lost then return lost end
local state = redis.call('HGET', K.record, 'state') or 'missing'
local due = redis.call('ZCARD', K.due) > 0
if not due or redis.call('ZSCORE', K.timers, A.id) then return {'LEFTOVER', state} end
arm(A.id)
return {'ARMED'}
