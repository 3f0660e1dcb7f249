-- Ends a claim and moves the job on, with further fields and values for its record. The holding goes first, which a
-- full server accepts; the token stays as proof of what it recorded.
local function close(id, token, outcome, created, ...)
  redis.call('HDEL', K.held, id)
  redis.call('HDEL', K.record, 'token', 'holder', 'pid', 'progress', 'cancel')
  move(id, outcome, created, 'closed', token .. ' ' .. outcome, ...)
end
