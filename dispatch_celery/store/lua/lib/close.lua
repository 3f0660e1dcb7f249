-- Ends a claim: the holding goes first, which a full server accepts; the token stays as proof of what it recorded.
local function close(id, token, outcome)
  redis.call('HDEL', K.held, id)
  redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'progress')
  redis.call('HSET', K.record, 'closed', token .. ' ' .. outcome)
end
