-- The fence of who calls off a member in the name of its run: nil if the run is held by him and stands where he knows it
-- to stand, or if nobody's leave is asked, else the answer. He may know less than is recorded (another write of his own
-- is under way), never more: then the server has come back without what he knows.
local function leave()
  if A.by == '' then return nil end
  local token, revision = string.match(A.by, '^(%S+) (%d+)$')
  local now = P and redis.call('HMGET', P.record, 'state', 'token', 'revision') or {}
  if now[1] == 'running' and now[2] == token and tonumber(now[3] or 0) >= tonumber(revision) then return nil end
  return {'FENCED', now[1] or 'missing'}
end
