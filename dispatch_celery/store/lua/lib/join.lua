-- Resolves, for a member that has ended, the promise by which its run waits for it; wakes that run when it has what it
-- lacked, or undoes and waited for this end. Returns the number of the wake-up, or nothing. While it works, the keys are
-- the run's. `undoable`: the member completed, and has effects of its own that the run may have to undo. A run that was
-- taken back may have another member of that identity by now: the head of the promise names whom it waits for.
local function join(outcome, payload, now, undoable)
  if not P then return '' end
  local mine, wake = K, ''
  K = P
  local seen = redis.call('HMGET', K.record, 'state', 'created_at', 'undoing', 'lane')
  local before = redis.call('HGET', K.promises, A.parent_at)
  local head = before and string.match(before, '^%a+ %S+ %S+ ([^\n]*)')
  if seen[1] and head and string.find(head, A.id, 1, true) then
    local status = outcome == 'completed' and 'value' or 'error'
    if string.match(before, '^%a+') == 'open' then
      local seq = redis.call('HINCRBY', K.record, 'seq', 1)
      redis.call('HSET', K.promises, A.parent_at, entry(status, seq, now, head .. '\n' .. payload))
    end
    if not undoable then
      redis.call('ZREM', K.open, A.parent_at)
      redis.call('HDEL', K.undos, A.parent_at)
    end
    if strike(A.parent_at, status == 'error') or (seen[1] == 'waiting' and seen[3]) then
      wake = wake_run(A.parent, seen[4], now, seen[2], tonumber(A.grace))
      journal('dispatch.run.ready', A.parent, 'waiting', 'pending', '')
    end
  end
  K = mine
  return wake
end
