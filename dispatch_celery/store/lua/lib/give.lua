-- Gives a permit to a key's first waiting job, to be handed over behind those before it; says whether one waits.
local function give(key, now)
  local found = redis.call('ZRANGEBYLEX', K.waiting, '[' .. key .. '\t', '(' .. key .. '\n', 'LIMIT', 0, 1)
  local member = found[1]
  if not member then return false end
  local id = string.match(member, '([^\t]*)$')
  local ask = string.match(redis.call('HGET', K.known, id) or '', '^%a+ (%d+) ') or '0'
  redis.call('ZREM', K.waiting, member)
  redis.call('ZADD', K.holders, 0, member)
  redis.call('HSET', K.known, id, 'holds ' .. ask .. ' ' .. member)
  local last = redis.call('ZRANGE', K.grants, -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', K.grants, last and math.max(now, tonumber(last) + 1) or now, id .. ' ' .. ask .. ' ' .. A.limit)
  return true
end
