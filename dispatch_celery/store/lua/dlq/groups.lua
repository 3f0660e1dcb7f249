-- PURPOSE  Counts the dead letters of some fingerprints: how many, the first, the latest, and how many of each name.
-- KEYS     letters
-- ARGV     most *fingerprints
--          most: of how many names of each fingerprint it tells at most.
-- RETURNS  for each fingerprint: count first latest (time and id each), then names and their counts in turn
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(names * log n)
-- INCLUDE  none
local found = {}
for n = REST, #ARGV do
  local group = 'f ' .. ARGV[n] .. ' '
  local from, past = '[' .. group, '(f ' .. ARGV[n] .. '!'
  local told = {redis.call('ZLEXCOUNT', K.letters, from, past), '', ''}
  repeat
    local one = redis.call('ZRANGEBYLEX', K.letters, from, past, 'LIMIT', 0, 1)[1]
    if one then
      local name, first = string.match(one, '^f %S+ (%S*) (.*)$')
      local low, high = '[' .. group .. name .. ' ', '(' .. group .. name .. '!'
      local last = redis.call('ZREVRANGEBYLEX', K.letters, high, low, 'LIMIT', 0, 1)[1]
      last = string.sub(last, #group + #name + 2)
      if told[2] == '' or first < told[2] then told[2] = first end
      if last > told[3] then told[3] = last end
      told[#told + 1] = name
      told[#told + 1] = redis.call('ZLEXCOUNT', K.letters, low, high)
      from = '[' .. group .. name .. '!'
    end
  until not one or #told >= 3 + 2 * A.most
  found[#found + 1] = told
end
return found
