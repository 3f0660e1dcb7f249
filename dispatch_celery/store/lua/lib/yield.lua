-- Gives back every permit that a job has: when its attempt has ended, or when it has to begin again with a limit that was
-- set later but comes first (who has the second and waits for the first could wait for one who waits for him).
local function yield(id, permits, now)
  if not permits or permits == '' then return end
  for limit, ask in string.gmatch(permits, '\n([^\n]+)=(%d+)') do post('return', id, ask, limit, now) end
  redis.call('HDEL', K.record, 'permits')
end
