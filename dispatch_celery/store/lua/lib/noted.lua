-- Appends to an entry's history of fires, a line each, the newest first; twenty are kept.
local function noted(outcome, slot, now, id)
  redis.call('LPUSH', K.fires, string.format('%s %s %.0f %s', outcome, slot == '' and '-' or slot, now, id))
  redis.call('LTRIM', K.fires, 0, 19)
end
