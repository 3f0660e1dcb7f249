-- Makes an id ready: into its lane, with a mark that stays until its wake-up is known to be published.
local function make_ready(id, lane, now, grace)
  local wake = redis.call('HINCRBY', K.record, 'wake', 1)
  redis.call('ZADD', K.lane, now, id)
  redis.call('SADD', K.lanes, lane)
  redis.call('ZADD', K.marks, now + grace, id .. ':' .. wake)
  redis.call('HDEL', K.record, 'publishes')
  return tostring(wake)
end
