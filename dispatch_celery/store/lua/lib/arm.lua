-- Sets a run's one timer to the earliest of what it has due, and rings the leader when nothing else is due before it.
local function arm(id)
  local first = redis.call('ZRANGE', K.due, 0, 0, 'WITHSCORES')
  if not first[2] then return redis.call('ZREM', K.timers, id) end
  local next = redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES')
  redis.call('ZADD', K.timers, first[2], id)
  if not next[2] or tonumber(first[2]) < tonumber(next[2]) then redis.call('PUBLISH', K.timers, 'due') end
end
