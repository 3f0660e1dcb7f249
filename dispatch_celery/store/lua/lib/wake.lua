-- Makes a waiting run ready: it has what it lacked.
local function wake_run(id, lane, now, created, grace)
  redis.call('DEL', K.waits)
  redis.call('HDEL', K.record, 'enough', 'fast')
  move(id, 'pending', created)
  return make_ready(id, lane, now, grace)
end
