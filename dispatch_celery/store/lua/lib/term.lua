-- The leader's fence: nil if the term `<number>.<random>` reigns, or if the caller claims none (tests, operators).
local function reigns(term)
  if term == '' then return nil end
  local leader = redis.call('HMGET', K.leader, 'term', 'nonce')
  if leader[1] and leader[1] .. '.' .. (leader[2] or '') == term then return nil end
  return redis.error_reply('LEADERSHIP_LOST another term reigns')
end
