-- Whether a job has a permit of a limit that tells its jobs apart by their arguments.
local function keyed(permits)
  for limit in string.gmatch(permits or '', '\n([^\n]+)=%d+') do
    if string.find(redis.call('HGET', K.limits, limit) or '', 'keyed', 1, true) then return true end
  end
end
