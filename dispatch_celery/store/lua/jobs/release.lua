-- PURPOSE  Makes a held job ready again at once: its worker stops, or its process died for the first time.
-- KEYS     record from_state from_name to_state to_name held lane lanes marks journal
-- ARGV     now journal id token lane grace counter attempt
--          grace: ms; counter: crashes, lost_workers, or empty for a graceful stop; attempt: rest of a JSON object.
-- RETURNS  DONE wake | REPEATED state | FENCED state | CANCELLING
-- ERRORS   none
-- TRANSITIONS running>pending
-- COST     O(log n)
-- INCLUDE  clock journal guard move close history ready
local now = clock(A.now)
local refusal, created, cancel = guard(A.token, 'pending')
if refusal then
  if refusal[1] == 'REPEATED' then refusal[3] = redis.call('HGET', K.record, 'wake') end
  return refusal
end
if cancel then return {'CANCELLING'} end
close(A.id, A.token, 'pending', created)
remember(A.attempt, now)
if A.counter ~= '' then redis.call('HINCRBY', K.record, A.counter, 1) end
local wake = make_ready(A.id, A.lane, now, tonumber(A.grace))
journal(A.counter == '' and 'dispatch.job.released' or 'dispatch.job.recovered', A.id, 'running', 'pending', A.token)
return {'DONE', wake}
