-- PURPOSE  Lets a held run begin anew, with other arguments and an empty journal, as its next generation.
-- KEYS     record from_state from_name to_state to_name held lane lanes marks promises aside consumed due open timers journal *undos
--          undos: of the generation before; they are done.
-- ARGV     now journal id lane token revision op grace retain payload spec *events
--          retain: ms an event can be found; events: the ids of those consumed in this generation.
-- RETURNS  DONE wake | REPEATED state | OPEN | CANCELLING reason | FENCED state
--          OPEN: something of it is under way, or could have to be undone.
-- ERRORS   none
-- TRANSITIONS running>pending
-- COST     O(n) in the events consumed; the journal of the generation before last is freed by the server
-- INCLUDE  clock journal hold move ready arm
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal then return refusal end
local seen = redis.call('HMGET', K.record, 'created_at', 'cancel')
if seen[2] then return {'CANCELLING', seen[2]} end
if redis.call('ZCARD', K.open) > 0 then return {'OPEN'} end
redis.call('HDEL', K.held, A.id)
-- Of what was due only the run's own time goes on: the other due times belong to the journal that is set aside.
local deadline = redis.call('ZSCORE', K.due, 'deadline')
redis.call('DEL', K.due)
if deadline then redis.call('ZADD', K.due, deadline, 'deadline') end
arm(A.id)
redis.call('UNLINK', K.aside, KEYS[MORE])
if redis.call('EXISTS', K.promises) == 1 then redis.call('RENAME', K.promises, K.aside) end
redis.call('ZREMRANGEBYSCORE', K.consumed, '-inf', now - tonumber(A.retain))
for at = REST, #ARGV do redis.call('ZADD', K.consumed, now, ARGV[at]) end
redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'progress', 'crashes', 'lost_workers', 'nudged', 'op')
redis.call('HINCRBY', K.record, 'generation', 1)
move(A.id, 'pending', seen[1], 'revision', tonumber(A.revision) + 1, 'closed', A.token .. ' ' .. A.op,
  'payload', A.payload, 'spec', A.spec)
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal('dispatch.run.continued', A.id, 'running', 'pending', A.token)
return {'DONE', wake}
