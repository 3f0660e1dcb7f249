"""Lists, counts and groups of dead letters, each from the index that leaves the least to sift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dispatch_celery.clock import from_ms
from dispatch_celery.dlq.filters import DeadLetterFilter
from dispatch_celery.dlq.model import DeadLetter, DeadLetterGroup
from dispatch_celery.dlq.store import DeadLetterStore, Tally
from dispatch_celery.store.keys import Keys
from dispatch_celery.store.paging import Page, Pager, Shelf, instant
from dispatch_celery.store.replies import ask_all
from dispatch_celery.store.scripts import Call

__all__ = ["DeadLetterListing"]

_MANY: Final = 1_000
_BUDGET: Final = 400
"""Records one page looks at when no index serves: what is read in well under 50 ms."""
_FILED: Final = frozenset({"fingerprint", "name"})


class DeadLetterListing:
    """Reads of many dead letters."""

    def __init__(self, store: DeadLetterStore, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._pager = Pager(store.port)

    def page(
        self, chosen: DeadLetterFilter, *, limit: int, cursor: str | None = None, budget: int = _BUDGET
    ) -> Page[DeadLetter]:
        """Return one page, the latest first."""
        return self._pager.page(
            self._sources(chosen),
            self._store.read,
            keep=chosen.keeps,
            limit=limit,
            cursor=cursor,
            until=instant("died_before", chosen.died_before),
            since=instant("died_after", chosen.died_after),
            budget=max(budget, limit),
        )

    def all(self, chosen: DeadLetterFilter, *, limit: int = _MANY) -> Iterator[Page[DeadLetter]]:
        """Yield every page; what dies meanwhile is not among them."""
        cursor: str | None = None
        while True:
            page = self.page(chosen, limit=limit, cursor=cursor, budget=_MANY)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def count(self, chosen: DeadLetterFilter) -> int:
        """Return how many pass: by counting only, where all that is asked for is filed."""
        key = self._keys.letters
        sources = self._sources(chosen)
        if not chosen.given:
            return self._store.sizes()[0]
        if chosen.given <= _FILED and all(isinstance(one, Shelf) for one in sources):
            shelves = [one for one in sources if isinstance(one, Shelf)]
            calls = [Call.command("ZLEXCOUNT", key, f"[{one.prefix} ", f"({one.prefix}!") for one in shelves]
            return sum(int(count) for count in ask_all(self._store.port, calls))
        return sum(len(page) for page in self.all(chosen))

    def groups(self, chosen: DeadLetterFilter, *, limit: int, cursor: str | None = None) -> Page[DeadLetterGroup]:
        """Return one page of groups, that of the latest death first."""
        if chosen.given - _FILED or chosen.fingerprint == "":
            return self._sifted(chosen, limit, cursor)
        if chosen.fingerprint is not None:
            found = self._counted([chosen.fingerprint], chosen)
            return Page(tuple(group for group in found if group is not None))
        page = self._pager.page(
            [self._keys.groups], lambda ids: self._counted(ids, chosen), keep=lambda _: True, limit=limit, cursor=cursor
        )
        total, filed = self._store.sizes()
        if cursor is None and total > filed and chosen.name is None:
            return Page((*page.records, DeadLetterGroup(fingerprint="", count=total - filed)), page.next_cursor)
        return page

    def _counted(self, fingerprints: list[str], chosen: DeadLetterFilter) -> list[DeadLetterGroup | None]:
        tallies = [_of_name(tally, chosen.name) for tally in self._store.tallies(fingerprints)]
        latest = [tally.latest for tally in tallies if tally is not None]
        samples = dict(zip(latest, self._store.read(latest), strict=True))
        return [
            None if tally is None else _group(fingerprint, tally, samples[tally.latest])
            for fingerprint, tally in zip(fingerprints, tallies, strict=True)
        ]

    def _sifted(self, chosen: DeadLetterFilter, limit: int, cursor: str | None) -> Page[DeadLetterGroup]:
        """Count groups by reading every dead letter that passes: for the filters that no index serves."""
        found: dict[str, DeadLetterGroup] = {}
        for page in self.all(chosen):
            for letter in page:
                found[letter.fingerprint] = _joined(found.get(letter.fingerprint), letter)
        ordered = sorted(found.values(), key=_place, reverse=True)
        after = [group for group in ordered if cursor is None or _place(group) < _parsed(cursor)]
        shown = tuple(after[:limit])
        return Page(shown, "|".join(map(str, _place(shown[-1]))) if len(after) > limit else None)

    def _sources(self, chosen: DeadLetterFilter) -> list[str | Shelf]:
        """Return the indexes that hold every dead letter that is wanted."""
        key = self._keys.letters
        if chosen.fingerprint:
            (tally,) = self._store.tallies([chosen.fingerprint], most=_MANY)
            names = [name for name in tally.names if chosen.name in (None, name)]
            return [Shelf(key, f"f {chosen.fingerprint} {name}") for name in names]
        if chosen.name is not None and chosen.fingerprint is None:
            total, filed = self._store.sizes()
            if total == filed:
                return [Shelf(key, f"n {chosen.name}")]
        return [self._keys.dead]


def _of_name(tally: Tally, name: str | None) -> Tally | None:
    """Return what is counted of one name, or of all; None where there is nothing."""
    if not tally.count or (name is not None and name not in tally.names):
        return None
    return tally


def _group(fingerprint: str, tally: Tally, sample: DeadLetter | None) -> DeadLetterGroup:
    return DeadLetterGroup(
        fingerprint=fingerprint,
        count=tally.count,
        names=tally.names,
        first_died_at=from_ms(tally.first_at),
        last_died_at=from_ms(tally.last_at),
        sample=sample,
    )


def _joined(group: DeadLetterGroup | None, letter: DeadLetter) -> DeadLetterGroup:
    """Return a group with one more dead letter, which died no later than those in it."""
    names = dict(group.names) if group else {}
    names[letter.name] = names.get(letter.name, 0) + 1
    return DeadLetterGroup(
        fingerprint=letter.fingerprint,
        count=(group.count if group else 0) + 1,
        names=names,
        first_died_at=letter.died_at,
        last_died_at=group.last_died_at if group else letter.died_at,
        sample=group.sample if group else letter,
    )


def _place(group: DeadLetterGroup) -> tuple[int, str]:
    moment = group.last_died_at
    return (0 if moment is None else round(moment.timestamp() * 1000)), group.fingerprint


def _parsed(cursor: str) -> tuple[int, str]:
    at, _, fingerprint = cursor.partition("|")
    return (int(at) if at.isdecimal() else 0), fingerprint
