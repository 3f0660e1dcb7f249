-- Takes in a job's request for a permit. A request that is known, or older than the one known, changes nothing.
local function seek(id, ask, key)
  local mine = string.match(redis.call('HGET', K.known, id) or '', '^%a+ (%d+) ')
  if mine and tonumber(mine) >= tonumber(ask) then return end
  if mine then
    local left = drop(id, mine)
    if left then turn(left) end
  end
  local place = redis.call('HINCRBY', K.limit, 'seq', 1)
  local member = string.format('%s\t%016.0f\t%s', key, place, id)
  redis.call('ZADD', K.waiting, 0, member)
  redis.call('HSET', K.known, id, 'waits ' .. ask .. ' ' .. member)
  turn(key)
end
