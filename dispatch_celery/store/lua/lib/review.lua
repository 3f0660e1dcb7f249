-- After a change of the limit: lets the keys that wait take their turn anew, `batch` of them; says whether more are left.
local function review(batch)
  local from = redis.call('HGET', K.limit, 'review')
  if not from then return false end
  for _ = 1, batch do
    local member = redis.call('ZRANGEBYLEX', K.waiting, from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, 1)[1]
    if not member then
      redis.call('HDEL', K.limit, 'review')
      return false
    end
    local key = string.match(member, '^([^\t]*)')
    redis.call('ZREM', K.resting, key)
    turn(key)
    from = key .. '\n'
  end
  redis.call('HSET', K.limit, 'review', from)
  return true
end
