-- PURPOSE  Ends work that is to be done once: with its result, which is kept for the window, or without one.
-- KEYS     once
-- ARGV     owner attempt done window result
--          attempt: as it has begun; done: 1 where there is a result; window: ms for which it is kept.
-- RETURNS  KEPT | FREED | OTHER owner
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  none
local seen = redis.call('HMGET', K.once, 'owner', 'result', 'attempt')
if seen[1] and seen[1] ~= A.owner then return {'OTHER', seen[1]} end
if A.done ~= '1' then
  if seen[3] and seen[3] ~= A.attempt then return {'OTHER', seen[1]} end -- it has begun again meanwhile
  if not seen[2] then redis.call('DEL', K.once) end
  return {'FREED'}
end
if seen[2] then return {'KEPT'} end
redis.call('HSET', K.once, 'owner', A.owner, 'result', A.result)
redis.call('HDEL', K.once, 'until', 'attempt')
redis.call('PEXPIRE', K.once, A.window)
return {'KEPT'}
