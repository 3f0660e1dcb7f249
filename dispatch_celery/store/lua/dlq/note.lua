-- PURPOSE  Writes a note on a dead letter; the oldest notes go when there are too many.
-- KEYS     entry dead
-- ARGV     now id note rest most
--          note: who calls once is noted once: a random word; rest: by and text, the rest of a JSON object;
--          most: how many notes are kept.
-- RETURNS  DONE | REPEATED | MISSING
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(notes)
-- INCLUDE  clock
local now = clock(A.now)
if not redis.call('ZSCORE', K.dead, A.id) then return {'MISSING'} end
local all = redis.call('HGET', K.entry, 'notes') or ''
if string.find(all, '"id":"' .. A.note .. '"', 1, true) then return {'REPEATED'} end
local count = select(2, string.gsub(all, '\n', '\n')) + (all == '' and 0 or 1)
while count >= tonumber(A.most) do
  local cut = string.find(all, '\n', 1, true)
  all = cut and string.sub(all, cut + 1) or ''
  count = count - 1
end
local line = string.format('{"id":"%s","at":%.0f,%s', A.note, now, A.rest)
redis.call('HSET', K.entry, 'notes', all == '' and line or (all .. '\n' .. line))
return {'DONE'}
