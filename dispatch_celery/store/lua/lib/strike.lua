-- Strikes a promise off what the run waits for; tells whether the run has what it lacked: few enough are left, or one
-- has failed where none may.
local function strike(identity, failed)
  if redis.call('SREM', K.waits, identity) == 0 then return false end
  local seen = redis.call('HMGET', K.record, 'state', 'enough', 'fast')
  if seen[1] ~= 'waiting' then return false end
  return redis.call('SCARD', K.waits) <= tonumber(seen[2] or 0) or (failed and seen[3] == '1')
end
