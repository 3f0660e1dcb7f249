-- Lets a key take its turn among those with waiting jobs, if it has one and is not in its turn yet: behind nobody that
-- has had as many, by the virtual time of start-time fair queueing (Goyal, Vin and Cheng, 1996).
local function turn(key)
  if redis.call('ZSCORE', K.turns, key) or redis.call('ZSCORE', K.resting, key) then return end
  if #redis.call('ZRANGEBYLEX', K.waiting, '[' .. key .. '\t', '(' .. key .. '\n', 'LIMIT', 0, 1) == 0 then return end
  redis.call('ZADD', K.turns, tonumber(redis.call('HGET', K.limit, 'turn') or 0), key)
end
