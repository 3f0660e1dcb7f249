-- PURPOSE  Returns a further part of a run's journal: the first comes with the claim.
-- KEYS     promises
-- ARGV     cursor size
--          cursor: where the part before ended; size: bytes after which a part ends.
-- RETURNS  cursor entries (identity and entry in turn; 0 as the cursor: there is no more)
-- ERRORS   none
-- TRANSITIONS none
-- COST     O(n) in the promises returned
-- INCLUDE  part
local cursor, found = part(A.cursor, A.size)
return {cursor, found}
