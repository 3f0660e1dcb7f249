-- Lets a limit know a request or permit by another key, in the place it has.
local function rekey(id, ask, key)
  local standing, mine, member = string.match(redis.call('HGET', K.known, id) or '', '^(%a+) (%d+) (.*)$')
  if mine ~= ask then return end
  local before, place = string.match(member, '^([^\t]*)(\t.*)$')
  if before == key then return end
  redis.call('ZREM', standing == 'waits' and K.waiting or K.holders, member)
  redis.call('ZADD', standing == 'waits' and K.waiting or K.holders, 0, key .. place)
  redis.call('HSET', K.known, id, standing .. ' ' .. mine .. ' ' .. key .. place)
end
