-- Notes in a record that its job is set aside until it is handed a permit of a limit, and asks for it.
local function park(record, id, limit, now)
  local ask = redis.call('HINCRBY', record, 'asks', 1)
  redis.call('HSET', record, 'limit', limit, 'limited_at', now)
  post('ask', id, string.format('%.0f', ask), limit, now)
end
