-- PURPOSE  Takes a parked or ended run back to an earlier point: what it recorded from there on is set aside, and it goes
--          on from there as its next generation.
-- KEYS     record from_state from_name to_state to_name lane lanes marks promises aside undos consumed due open timers journal *further
--          further: expiry, unknown and the idempotency key.
-- ARGV     now journal id lane expected revision generation op grace retain keyed dropped discard *identities
--          expected, revision, generation: what the caller saw; op: what this rewind is called; retain: ms an event can
--          be found; dropped: how many of the identities are taken out of the journal; the rest are events consumed.
--          discard: 1 to leave effects of what is dropped as they are.
-- RETURNS  READY wake | REPEATED state (it was the last to rewind it) | OPEN identity (its effect is not undone)
--          | CHANGED (something was written since) | STATE state
-- ERRORS   none
-- TRANSITIONS parked>pending completed>pending failed>pending cancelled>pending
-- COST     O(n) in the promises of the run
-- INCLUDE  clock journal move ready arm
local now = clock(A.now)
local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'revision', 'generation', 'rewound')
local state = seen[1]
if seen[5] == A.op then return {'REPEATED', state} end
if state ~= A.expected or (state ~= 'parked' and state ~= 'completed' and state ~= 'failed' and state ~= 'cancelled') then
  return {'STATE', state or 'missing'}
end
if (seen[3] or '0') ~= A.revision or (seen[4] or '0') ~= A.generation then return {'CHANGED'} end
local last = REST + tonumber(A.dropped) - 1
if A.discard ~= '1' then
  for at = REST, last do
    if redis.call('ZSCORE', K.open, ARGV[at]) then return {'OPEN', ARGV[at]} end
  end
end
redis.call('ZREM', KEYS[MORE], A.id)
redis.call('ZREM', KEYS[MORE + 1], A.id)
if A.keyed == '1' and string.match(redis.call('GET', KEYS[MORE + 2]) or '', '^%S+') == A.id then
  redis.call('PERSIST', KEYS[MORE + 2])
end
redis.call('UNLINK', K.aside)
if redis.call('EXISTS', K.promises) == 1 then redis.call('COPY', K.promises, K.aside) end
for at = REST, last do
  redis.call('HDEL', K.promises, ARGV[at])
  redis.call('HDEL', K.undos, ARGV[at])
  redis.call('ZREM', K.open, ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', K.consumed, '-inf', now - tonumber(A.retain))
for at = last + 1, #ARGV do redis.call('ZADD', K.consumed, now, ARGV[at]) end
local deadline = redis.call('ZSCORE', K.due, 'deadline')
redis.call('DEL', K.due)
if deadline then redis.call('ZADD', K.due, deadline, 'deadline') end
arm(A.id)
redis.call('HDEL', K.record, 'result', 'error', 'reason', 'detail', 'finished_at', 'parked_at', 'crashes', 'lost_workers',
  'cancel', 'undoing', 'undoing_since', 'undoing_for', 'unknown_since', 'closed', 'op', 'progress', 'nudged')
redis.call('HINCRBY', K.record, 'generation', 1)
move(A.id, 'pending', seen[2], 'revision', tonumber(A.revision) + 1, 'rewound', A.op)
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.run.rewound', A.id, state, 'pending', '')
return {'READY', wake}
