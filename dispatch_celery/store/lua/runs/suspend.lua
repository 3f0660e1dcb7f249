-- PURPOSE  Registers what a run waits for, and lets its worker go, unless some of it is there already.
-- KEYS     record from_state from_name to_state to_name held promises waits due timers journal
-- ARGV     now journal id token revision op enough fast progress *awaited
--          enough: it is woken when so few are left; fast: 1 to wake it at the first that failed, too; progress: how
--          far it has come, or empty.
--          awaited: identity, status (sleeping, awaiting, retrying or open), delay in ms or empty, rest; in turn.
--          A wait for an event whose time was up when its run was woken for that is resolved here: the run has looked
--          since, and nobody has told it of anything.
-- RETURNS  DONE | REPEATED state | READY identity entry ... (or nothing: it is to look again) | CANCELLING reason | FENCED state
-- ERRORS   none
-- TRANSITIONS running>waiting
-- COST     O(m log n) for m promises
-- INCLUDE  clock journal hold entry relieve move arm
local now = clock(A.now)
local refusal = hold(A.token, A.revision, A.op)
if refusal and refusal[1] ~= 'REPEATED' then return refusal end
if refusal and refusal[2] ~= 'running' then return refusal end
local seen = redis.call('HMGET', K.record, 'created_at', 'cancel', 'undoing', 'nudged')
local again = refusal ~= nil
if seen[2] and not seen[3] and not again then return {'CANCELLING', seen[2]} end
relieve(K.due)
local ready = {'READY'}
local open, failed = {}, false
for at = REST, #ARGV, 4 do
  local identity, status, delay = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local before = redis.call('HGET', K.promises, identity)
  local word, due = string.match(before or '', '^(%a+) %S+ (%S+)')
  due = tonumber(due or 0)
  if word == 'awaiting' and due > 0 and not redis.call('ZSCORE', K.due, identity) and not seen[4] and not again then
    before = entry('timeout', redis.call('HINCRBY', K.record, 'seq', 1), now, ARGV[at + 3])
    redis.call('HSET', K.promises, identity, before)
    word = 'timeout'
  end
  if word == 'value' or word == 'error' or word == 'timeout' then
    ready[#ready + 1] = identity
    ready[#ready + 1] = before
    failed = failed or word == 'error'
  else
    open[#open + 1] = identity
    if not again and (not before or word ~= status or status == 'retrying') then
      due = delay ~= '' and now + tonumber(delay) or 0
      redis.call('HSET', K.promises, identity, entry(status, 0, due, ARGV[at + 3]))
      if delay ~= '' then redis.call('ZADD', K.due, due, identity) end
    elseif not again and status == 'awaiting' then
      -- It waits on: its due time stays, how far it has looked may have changed.
      redis.call('HSET', K.promises, identity, entry(status, 0, due, ARGV[at + 3]))
    end
  end
end
-- Sent again while it is held, this was answered READY: its holder goes on, whatever that answer was about.
if again or seen[4] or #open <= tonumber(A.enough) or (failed and A.fast == '1') then
  redis.call('HDEL', K.record, 'nudged')
  redis.call('HSET', K.record, 'revision', tonumber(A.revision) + 1, 'op', A.op)
  arm(A.id)
  return ready
end
redis.call('HDEL', K.held, A.id)
redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'op', 'progress')
if A.progress ~= '' then redis.call('HSET', K.record, 'progress', A.progress) end
for _, identity in ipairs(open) do redis.call('SADD', K.waits, identity) end
move(A.id, 'waiting', seen[1], 'revision', tonumber(A.revision) + 1,
  'closed', A.token .. ' ' .. A.op, 'waiting_since', now, 'enough', A.enough, 'fast', A.fast)
arm(A.id)
journal('dispatch.run.waiting', A.id, 'running', 'waiting', A.token)
return {'DONE'}
