-- PURPOSE  Notes how an effect is to be undone, before it happens; perhaps resolves the durable call that asked for it.
-- KEYS     record undos open promises journal
-- ARGV     now journal id token revision op identity rest promise
--          rest: what only Python reads of the undo; promise: the same of the durable call, or empty.
-- RETURNS  DONE seq now | REPEATED state | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(log n) in the undos of the run
-- INCLUDE  clock journal hold entry
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local seq = redis.call('HINCRBY', K.record, 'seq', 1)
redis.call('HSET', K.undos, A.identity, entry('open', seq, now, A.rest))
redis.call('ZADD', K.open, seq, A.identity)
if A.promise ~= '' then redis.call('HSET', K.promises, A.identity, entry('value', seq, now, A.promise)) end
redis.call('HSET', K.record, 'revision', tonumber(A.revision) + 1, 'op', A.op)
journal('dispatch.run.intended', A.id, '', A.identity, A.token)
return {'DONE', string.format('%.0f', seq), string.format('%.0f', now)}
