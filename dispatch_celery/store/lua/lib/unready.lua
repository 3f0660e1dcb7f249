-- Takes an id out of its lane and out of the outbox.
local function unready(id, wake)
  redis.call('ZREM', K.lane, id)
  if wake then redis.call('ZREM', K.marks, id .. ':' .. wake) end
end
