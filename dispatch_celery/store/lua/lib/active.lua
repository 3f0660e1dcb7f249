-- Whether the work an entry created last has not ended: `last` is its record.
local function active(last)
  local state = redis.call('HGET', last, 'state')
  return state and state ~= 'completed' and state ~= 'failed' and state ~= 'cancelled'
end
