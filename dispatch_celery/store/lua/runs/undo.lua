-- PURPOSE  Records how one undo of a held run went: done for good, to be tried again, or given up.
-- KEYS     record undos open journal
-- ARGV     now journal id token revision op identity status rest
--          status: undone, retrying or stuck; rest: what only Python reads.
-- RETURNS  DONE now | REPEATED state | CONFLICT | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n) in the undos of the run
-- INCLUDE  clock journal hold entry relieve
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local place = redis.call('ZSCORE', K.open, A.identity)
if not place then return {'CONFLICT'} end
relieve(K.open)
if A.status == 'undone' then
  redis.call('ZREM', K.open, A.identity)
  redis.call('HDEL', K.record, 'crashes', 'progress')
end
redis.call('HSET', K.undos, A.identity, entry(A.status, place, now, A.rest))
redis.call('HSET', K.record, 'revision', tonumber(A.revision) + 1, 'op', A.op)
if A.status == 'undone' then journal('dispatch.run.undone', A.id, '', A.identity, A.token) end
return {'DONE', string.format('%.0f', now)}
