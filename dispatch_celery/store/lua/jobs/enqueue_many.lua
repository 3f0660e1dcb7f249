-- PURPOSE  Writes new jobs of one name, lane and scope that are ready at once and have no key, as jobs/enqueue would.
-- KEYS     to_state to_name scope lane lanes marks limits limited_state limited_name permits journal *records
-- ARGV     now journal name lane scoped grace *jobs
--          grace: ms. jobs: id, spec and payload in turn, in the order of the records.
-- RETURNS  now, state (of those it has written), then for each job: empty where it was written, or the state it is in already
-- ERRORS   none
-- TRANSITIONS new>pending new>limited
-- COST     O(n log n)
-- INCLUDE  clock journal gate post park
local now = clock(A.now)
local limit = gate(A.name, A.lane, nil)
local target = limit and 'limited' or 'pending'
local answer = {string.format('%.0f', now), target}
local fresh, ready, marks = {}, {}, {}
for n = MORE, #KEYS do
  local state = redis.call('HGET', KEYS[n], 'state')
  answer[#answer + 1] = state or ''
  if not state then
    local id = ARGV[REST + (n - MORE) * 3]
    fresh[#fresh + 1] = n
    ready[#ready + 1], ready[#ready + 2] = now, id
    marks[#marks + 1], marks[#marks + 2] = now + tonumber(A.grace), id .. ':1'
  end
end
if #fresh == 0 then return answer end

for _, n in ipairs(fresh) do
  local at = REST + (n - MORE) * 3
  redis.call('HSET', KEYS[n], 'state', target, 'created_at', now, 'lane', A.lane, 'name', A.name,
    'spec', ARGV[at + 1], 'payload', ARGV[at + 2])
  if limit then park(KEYS[n], ARGV[at], limit, now) else redis.call('HSET', KEYS[n], 'wake', 1) end
  journal('dispatch.job.enqueued', ARGV[at], 'new', target, '')
end
redis.call('ZADD', limit and K.limited_state or K.to_state, unpack(ready))
redis.call('ZADD', limit and K.limited_name or K.to_name, unpack(ready))
if A.scoped == '1' then redis.call('ZADD', K.scope, unpack(ready)) end
if limit then return answer end
redis.call('ZADD', K.lane, unpack(ready))
redis.call('SADD', K.lanes, A.lane)
redis.call('ZADD', K.marks, unpack(marks))
return answer
