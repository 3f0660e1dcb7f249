-- Makes a waiting run ready: whatever it waited for, one of it has come.
local function wake_run(id, lane, now, created, grace)
  redis.call('DEL', K.waits)
  move(id, 'pending', created)
  return make_ready(id, lane, now, grace)
end
