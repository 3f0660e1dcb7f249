-- Ends a run's claim and moves it on; what it waited for and what was due is void.
local function retire(id, token, op, to, created, ...)
  redis.call('HDEL', K.held, id)
  redis.call('DEL', K.waits, K.due)
  redis.call('ZREM', K.timers, id)
  redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'op', 'progress')
  move(id, to, created, 'closed', token .. ' ' .. op, ...)
end
