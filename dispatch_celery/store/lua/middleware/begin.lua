-- PURPOSE  Begins work that is to be done once within a window; tells of the result where it was done already.
-- KEYS     once
-- ARGV     now owner attempt hold
--          owner: who does it, the same when it begins again; attempt: of it, which is told at its end; hold: ms after
--          which one who began and was not heard of again is given up.
-- RETURNS  BEGUN | DONE owner result | BUSY owner ms
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  clock
local now = clock(A.now)
local seen = redis.call('HMGET', K.once, 'owner', 'result', 'until')
if seen[2] then return {'DONE', seen[1], seen[2]} end
local held = tonumber(seen[3] or 0)
if seen[1] and seen[1] ~= A.owner and held > now then
  return {'BUSY', seen[1], string.format('%.0f', held - now)}
end
redis.call('HSET', K.once, 'owner', A.owner, 'attempt', A.attempt, 'until', now + tonumber(A.hold))
redis.call('PEXPIRE', K.once, A.hold)
return {'BEGUN'}
