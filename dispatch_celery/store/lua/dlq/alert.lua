-- PURPOSE  Tells the leader whether the dead letters have become more than they should be, once until they are fewer.
-- KEYS     dead alarm leader
-- ARGV     now threshold told term
--          told: 1 when whoever wants to know has been told.
-- RETURNS  PASSED count (to be told) | TOLD count | BELOW count
-- ERRORS   LEADERSHIP_LOST
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  clock term relieve
local now = clock(A.now)
local lost = reigns(A.term)
if lost then return lost end
local count = redis.call('ZCARD', K.dead)
if count <= tonumber(A.threshold) then
  redis.call('DEL', K.alarm)
  return {'BELOW', count}
end
if A.told == '1' then
  relieve(K.dead)
  redis.call('SET', K.alarm, now)
end
return {redis.call('EXISTS', K.alarm) == 1 and 'TOLD' or 'PASSED', count}
