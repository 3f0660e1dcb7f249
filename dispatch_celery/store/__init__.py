"""The only room that speaks to Redis or Valkey.

Purpose
    Every state change of the product is one Lua script, sent from here (ARCHITECTURE 1.2). Rooms above
    hold typed methods, one per script; they never see a client, a key pattern or a reply's shape.

Who is authoritative
    The server. Its clock is the only one that decides (every script calls ``TIME``; a test may pass ``now``),
    and nothing is read, changed and written back from Python.

The port
    ``Store.execute(calls)`` sends calls in one round trip and returns their replies in order. It is the only
    way in, so a wrapper of this one method can fail at every point where a process may die; the crash
    explorer is that wrapper.

What happens on each failure
    - No connection, no answer in time, or an answer that means "not now" (OOM, MISCONF, READONLY, LOADING,
      BUSY, CLUSTERDOWN, ...): ``StoreUnavailable``. The caller may send the same call again: every script can
      be sent twice with one effect, because its ids are minted by the caller.
    - A kept connection that the server closed while it was idle, a slot that moved, a master that was demoted:
      sent again, once, on a new connection. Nothing else is ever repeated here; redis-py's own retries are off.
    - The server lost its scripts: the text is sent instead of its hash.
    - A script refuses: ``ScriptRefused`` with its code, turned into a domain error one floor up.
"""
