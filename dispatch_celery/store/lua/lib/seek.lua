-- Takes in a job's request for a permit. A request that is known, or older than the one known, changes nothing; a newer one
-- has the place of the one that it replaces.
local function seek(id, ask, key)
  local mine, place = string.match(redis.call('HGET', K.known, id) or '', '^%a+ (%d+) [^\t]*\t(%d+)')
  if mine and tonumber(mine) >= tonumber(ask) then return end
  if mine then
    local left = drop(id, mine)
    if left then turn(left) end
  end
  place = tonumber(place) or redis.call('HINCRBY', K.limit, 'seq', 1)
  local member = string.format('%s\t%016.0f\t%s', key, place, id)
  redis.call('ZADD', K.waiting, 0, member)
  redis.call('HSET', K.known, id, 'waits ' .. ask .. ' ' .. member)
  turn(key)
end
