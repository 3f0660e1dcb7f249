-- PURPOSE  Lets one caller put a message back into its queue, and notes when it is there.
-- KEYS     raw
-- ARGV     now asker step force
--          asker: who puts it back, a random word; step: ask (before), done (it is in the queue) or undo (it is not);
--          force: 1 to put back what was, or may have been, put back before.
-- RETURNS  YOURS now | DONE at | UNDERWAY since | MISSING
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  clock
local now = clock(A.now)
local seen = redis.call('HMGET', K.raw, 'received_at', 'put_back', 'asker', 'asked_at')
if not seen[1] then return {'MISSING'} end
if A.step == 'undo' and seen[3] == A.asker then
  redis.call('HDEL', K.raw, 'asker', 'asked_at')
  return {'YOURS', string.format('%.0f', now)}
end
if A.step == 'done' and seen[3] == A.asker then
  redis.call('HDEL', K.raw, 'asker', 'asked_at')
  redis.call('HSET', K.raw, 'put_back', now)
  return {'DONE', string.format('%.0f', now)}
end
if A.step ~= 'ask' or (seen[2] and A.force ~= '1') then return {'DONE', seen[2] or ''} end
if seen[3] and seen[3] ~= A.asker and A.force ~= '1' then return {'UNDERWAY', seen[4]} end
if seen[3] ~= A.asker then redis.call('HSET', K.raw, 'asker', A.asker, 'asked_at', now) end
return {'YOURS', string.format('%.0f', now)}
