-- From one state index to another, with further fields and values for the record. Begins with a removal, which a full
-- server accepts.
local function move(id, to, created, ...)
  redis.call('ZREM', K.from_state, id)
  redis.call('ZREM', K.from_name, id)
  redis.call('ZADD', K.to_state, created, id)
  redis.call('ZADD', K.to_name, created, id)
  redis.call('HSET', K.record, 'state', to, ...)
end
