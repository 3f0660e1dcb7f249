-- Forgets a request or permit of a job, if it is the one it is known by; returns its key.
local function drop(id, ask)
  local known = redis.call('HGET', K.known, id)
  local standing, mine, member = string.match(known or '', '^(%a+) (%d+) (.*)$')
  if not standing or (ask and mine ~= ask) then return nil end
  redis.call('ZREM', standing == 'waits' and K.waiting or K.holders, member)
  redis.call('HDEL', K.known, id)
  redis.call('ZREM', K.grants, id .. ' ' .. mine .. ' ' .. A.limit)
  return string.match(member, '^([^\t]*)')
end
