-- PURPOSE  Gives a job that waits for its time the timer it has lost.
-- KEYS     record timers leader
-- ARGV     now id term
-- RETURNS  ARMED due | LEFTOVER state
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(log n)
-- INCLUDE  clock term timer
local lost = reigns(A.term)
if lost then return lost end
local seen = redis.call('HMGET', K.record, 'state', 'due_at')
local waits = seen[1] == 'scheduled' or seen[1] == 'retrying'
if not waits or redis.call('ZSCORE', K.timers, A.id) then return {'LEFTOVER', seen[1] or 'missing'} end
local due = tonumber(seen[2]) or clock(A.now)
set_timer(A.id, due)
return {'ARMED', string.format('%.0f', due)}
