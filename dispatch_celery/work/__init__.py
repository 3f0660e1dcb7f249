"""Work: what a job and a run have in common, so that one machinery moves both.

Purpose
    A piece of work stands in a lane until it is *ready*, is woken by a message, held by one process under a token,
    set aside until a timer, and deleted when its retention has passed. None of that asks what it does. This room holds
    it: what names a piece of work, the part of its record that decides where it may go, the scripts that serve both
    kinds, the duties of those who keep house, and waiting for an end.

What tells the kinds apart
    ``WorkRef.kind``, nothing for a job and ``run-`` for a run: the prefix of the names of its indexes, and the name
    under which those who keep house find its ``Keeping``, the moves that only its own room knows.

Who is authoritative
    The record. Whatever is read here may be old when it is used, so nothing here decides: the scripts look again.
"""
