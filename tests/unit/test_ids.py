"""Ids name their kind, carry their partition, and can be derived again."""

from __future__ import annotations

import re

import pytest

from dispatch_celery.errors import InvalidId
from dispatch_celery.ids import CronId, DeadLetterId, EventId, JobId, RunId, TypedId, WorkerId, mint_nonce

KINDS = (JobId, RunId, CronId, EventId, WorkerId, DeadLetterId)


@pytest.mark.parametrize("kind", KINDS)
def test_a_minted_id_is_its_prefix_and_26_characters(kind: type[TypedId]) -> None:
    """Every kind mints ids that it parses, equal to their text and of its own type."""
    minted = kind.mint()

    assert re.fullmatch(rf"{kind.prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}", minted)
    assert kind.parse(str(minted)) == minted
    assert type(kind.parse(str(minted))) is kind


@pytest.mark.parametrize("partition", [0, 1, 77, 4095])
def test_the_partition_is_in_the_id(partition: int) -> None:
    """An id alone says in which partition its record lives, and when it was minted."""
    minted = JobId.mint(partition=partition, time_ms=1_800_000_000_123)

    assert (minted.partition_number, minted.time_ms) == (partition, 1_800_000_000_123)


def test_an_id_is_a_uuid_of_version_7() -> None:
    """The 128 bits are a UUIDv7: version and variant stand where RFC 9562 wants them."""
    bits = JobId.mint(partition=4095)._number

    assert (bits >> 76) & 0xF == 7
    assert (bits >> 62) & 0b11 == 0b10


def test_ids_of_one_millisecond_differ() -> None:
    """62 random bits keep ids of one moment apart."""
    assert len({JobId.mint(time_ms=5) for _ in range(1_000)}) == 1_000


def test_later_ids_are_greater_text() -> None:
    """Text order is the order of minting times, for people who look at lists of ids."""
    times = [0, 1, 31, 32, 1_023, 1_024, 2**47, 2**48 - 1]

    assert sorted(ids := [JobId.mint(time_ms=moment) for moment in times]) == ids


def test_a_derived_id_is_a_function_of_its_owner() -> None:
    """The same owner and identity give the same id, in the owner's partition and time."""
    owner = CronId.mint(partition=9, time_ms=42)
    derived = JobId.derive(owner, "slot")

    assert derived == JobId.derive(owner, "slot")
    assert (derived.partition_number, derived.time_ms) == (9, 42)
    assert JobId.parse(str(derived)) == derived


def test_derived_ids_of_other_owners_or_identities_differ() -> None:
    """No two derivations collide."""
    owners = [RunId.mint(time_ms=1) for _ in range(10)]

    assert len({JobId.derive(owner, f"step#{n}") for owner in owners for n in range(10)}) == 100


@pytest.mark.parametrize("foreign", ["", "a", "0f5b8f6e-2f0a-4a3f-9c5e-1d2c3b4a5968", "é" * 1_000])
def test_an_adopted_id_is_a_function_of_the_foreign_one(foreign: str) -> None:
    """A redelivered foreign message is adopted under the same id, which parses."""
    adopted = JobId.adopt(foreign, partition=3)

    assert adopted == JobId.adopt(foreign, partition=3)
    assert adopted.partition_number == 3
    assert JobId.parse(str(adopted)) == adopted


def test_adopted_ids_of_kinds_and_names_differ() -> None:
    """The kind and the name both decide."""
    assert JobId.adopt("a")[4:] != RunId.adopt("a")[4:]
    assert JobId.adopt("a") != JobId.adopt("b")


def test_any_text_can_be_adopted() -> None:
    """A foreign id is whatever a stranger sent, a lone surrogate too: JSON can carry it."""
    assert JobId.adopt("\ud800") == JobId.adopt("\ud800")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job",
        "job_",
        "job_01h",
        "job_" + "0" * 27,
        "job_" + "u" + "0" * 25,
        "job_" + "8" + "0" * 25,
        "job_" + "0" * 25 + "l",
        "JOB_" + "0" * 26,
        " job_" + "0" * 26,
        "job_" + "0" * 26 + "\n",
        "x" * 100_000,
        "job_\ud800",
        "job_" + "\u0660" * 26,
    ],
    ids=lambda text: repr(text)[-20:],
)
def test_text_that_is_no_id_is_refused(text: str) -> None:
    """The error names the kind that was wanted and shows a bounded part of the text."""
    with pytest.raises(InvalidId, match=r"is no id of a job: one looks like job_\.\.\., with 26 characters") as caught:
        JobId.parse(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [None, 5, b"job_", ["job_"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    """Anything else than text is an ``InvalidId`` too, which is also a ``ValueError``."""
    with pytest.raises(InvalidId):
        JobId.parse(value)  # type: ignore[arg-type]  # the point of the test
    assert issubclass(InvalidId, ValueError)


@pytest.mark.parametrize("other", [kind for kind in KINDS if kind is not JobId])
def test_an_id_of_another_kind_is_refused(other: type[TypedId]) -> None:
    """A run's id is no job's, whether it comes as text or as an id."""
    with pytest.raises(InvalidId):
        JobId.parse(other.mint())


@pytest.mark.parametrize("rest", ["0" * 26, "7" * 26])
def test_26_characters_that_are_no_uuid_of_version_7_are_refused(rest: str) -> None:
    """Version and variant are part of the shape."""
    with pytest.raises(InvalidId):
        JobId.parse(f"job_{rest}")


@pytest.mark.parametrize("partition", [-1, 4096])
def test_a_partition_that_twelve_bits_cannot_hold_is_refused(partition: int) -> None:
    """An id never names another partition than the one asked for."""
    with pytest.raises(ValueError, match="partition"):
        JobId.mint(partition=partition)


def test_a_dead_letter_and_its_job_name_each_other() -> None:
    """A failed job's dead letter has the job's own 26 characters."""
    job_id = JobId.mint(partition=12)
    letter = DeadLetterId.of_job(job_id)

    assert letter.job_id == job_id
    assert letter.partition_number == 12
    assert DeadLetterId.parse(str(letter)) == letter


def test_a_nonce_has_64_random_bits() -> None:
    """Nonces are 16 hexadecimal digits and do not repeat."""
    nonces = {mint_nonce() for _ in range(1_000)}

    assert len(nonces) == 1_000
    assert all(re.fullmatch("[0-9a-f]{16}", nonce) for nonce in nonces)
