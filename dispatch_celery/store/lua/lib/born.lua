-- Writes new work that is ready at once, a job or a run, as its own room would; false where it is there already.
local function born(id, now)
  if redis.call('EXISTS', K.record) == 1 then return false end
  redis.call('HSET', K.record, 'state', 'pending', 'created_at', now, 'lane', A.lane, unpack(ARGV, REST))
  redis.call('ZADD', K.to_state, now, id)
  redis.call('ZADD', K.to_name, now, id)
  if A.scoped == '1' then redis.call('ZADD', K.scope, now, id) end
  if A.timeout ~= '' then
    redis.call('ZADD', K.due, now + tonumber(A.timeout), 'deadline')
    arm(id)
  end
  make_ready(id, A.lane, now, tonumber(A.grace))
  journal(A.event, id, 'new', 'pending', '')
  return true
end
