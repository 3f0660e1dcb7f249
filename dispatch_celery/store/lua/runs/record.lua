-- PURPOSE  Records the outcome of a promise that the run's holder resolved itself: a step, a time, a random number.
-- KEYS     record promises due timers journal
-- ARGV     now journal id token revision op identity status rest progress
--          status: value, error or retrying; rest: what only Python reads; progress: how far the run has come, or empty.
-- RETURNS  DONE seq now | REPEATED state | CONFLICT entry (it was resolved by its due time, say) | FENCED state
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(1)
-- INCLUDE  clock journal hold entry arm
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local before = redis.call('HGET', K.promises, A.identity)
local word = before and string.match(before, '^%a+')
if before and word ~= 'retrying' and word ~= 'awaiting' then return {'CONFLICT', before} end
redis.call('HDEL', K.record, 'crashes', 'progress')
if A.progress ~= '' then redis.call('HSET', K.record, 'progress', A.progress) end
local seq = redis.call('HINCRBY', K.record, 'seq', 1)
redis.call('HSET', K.promises, A.identity, entry(A.status, seq, now, A.rest))
redis.call('HSET', K.record, 'revision', tonumber(A.revision) + 1, 'op', A.op)
if word == 'awaiting' and redis.call('ZREM', K.due, A.identity) == 1 then arm(A.id) end
if A.status ~= 'retrying' then journal('dispatch.run.promise', A.id, '', A.identity, A.token) end
return {'DONE', string.format('%.0f', seq), string.format('%.0f', now)}
