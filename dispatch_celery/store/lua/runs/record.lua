-- PURPOSE  Records the outcome of a promise that the run's holder resolved itself: a step, a time, a random number.
-- KEYS     record promises journal
-- ARGV     now journal id token revision op identity status rest
--          status: value, error or retrying; rest: what only Python reads.
-- RETURNS  DONE seq now | REPEATED state | CONFLICT | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  clock journal hold entry
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local before = redis.call('HGET', K.promises, A.identity)
if before and string.match(before, '^%a+') ~= 'retrying' then return {'CONFLICT'} end
redis.call('HDEL', K.record, 'crashes')
local seq = redis.call('HINCRBY', K.record, 'seq', 1)
redis.call('HSET', K.promises, A.identity, entry(A.status, seq, now, A.rest))
redis.call('HSET', K.record, 'revision', tonumber(A.revision) + 1, 'op', A.op)
if A.status ~= 'retrying' then journal('dispatch.run.promise', A.id, '', A.identity, A.token) end
return {'DONE', string.format('%.0f', seq), string.format('%.0f', now)}
