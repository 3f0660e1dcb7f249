-- Sets a due time, and rings the leader when nothing else is due before it.
local function set_timer(id, due)
  local first = redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES')
  redis.call('ZADD', K.timers, due, id)
  redis.call('HSET', K.record, 'due_at', due)
  if not first[2] or due < tonumber(first[2]) then redis.call('PUBLISH', K.timers, 'due') end
end
