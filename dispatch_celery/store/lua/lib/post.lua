-- Leaves word for a limit, behind all that was left before; rings the leader when nothing was.
local function post(verb, id, ask, limit, now)
  local last = redis.call('ZRANGE', K.permits, -1, -1, 'WITHSCORES')[2]
  if not last then redis.call('PUBLISH', K.permits, 'post') end
  local place = last and math.max(now, tonumber(last) + 1) or now
  redis.call('ZADD', K.permits, place, verb .. ' ' .. id .. ' ' .. ask .. ' ' .. limit)
end
