-- What the run of an ended member is told: the result as it is, or how the member ended, its id, and why.
local function ended(outcome, told)
  if outcome == 'completed' then return told end
  return outcome .. ' ' .. A.id .. '\n' .. told
end
