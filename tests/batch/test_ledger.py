"""Handing photos out to workers, some of which die."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dpdeblur.batch.ledger import IN_HAND, MOST_DEATHS, Ledger


def take_all(ledger: Ledger) -> list[list[int]]:
    """All chunks, in their order."""
    chunks = []
    while not ledger.is_empty:
        chunks.append(ledger.take_chunk())
    return chunks


@given(photos=st.integers(0, 500), workers=st.integers(1, 40))
def test_every_photo_is_handed_out_once_and_in_order(photos: int, workers: int):
    chunks = take_all(Ledger(photos, workers))
    assert [number for chunk in chunks for number in chunk] == list(range(photos))


def test_chunks_shrink_so_that_all_workers_end_together():
    sizes = [len(chunk) for chunk in take_all(Ledger(1000, 4))]
    assert sizes[0] == 32
    assert sizes[-8:] == [1] * 8
    assert sizes == sorted(sizes, reverse=True)


def test_an_empty_ledger_has_nothing_to_give():
    assert Ledger(0, 3).take_chunk() == []


def test_what_a_dead_worker_had_not_begun_goes_on_as_before_and_the_rest_alone():
    ledger = Ledger(100, 2)
    chunk = ledger.take_chunk()
    assert chunk == list(range(25))
    assert ledger.return_chunk(set(chunk[10:])) == []
    chunks = take_all(ledger)
    assert [number for chunk in chunks[:-IN_HAND] for number in chunk] == list(range(10 + IN_HAND, 100))
    assert chunks[-IN_HAND:] == [[10], [11], [12]]


def test_a_photo_that_kills_every_worker_is_given_up_and_only_that():
    ledger = Ledger(3, 1)
    given_up: list[int] = []
    deaths = 0
    while not ledger.is_empty:
        chunk = ledger.take_chunk()
        if 1 in chunk:
            deaths += 1
            given_up += ledger.return_chunk(chunk[chunk.index(1) :])
    assert given_up == [1]
    assert deaths == MOST_DEATHS


@given(photos=st.integers(1, 60), workers=st.integers(1, 5), deadly=st.sets(st.integers(0, 59), max_size=4))
def test_whatever_kills_workers_each_photo_ends_once(photos: int, workers: int, deadly: set[int]):
    ledger = Ledger(photos, workers)
    ended: list[int] = []
    while not ledger.is_empty:
        chunk = ledger.take_chunk()
        deaths = [number for number in chunk if number in deadly]
        # the deadly photo is being decoded while the one before is restored and the one before that is written
        finished = chunk if not deaths else chunk[: max(0, chunk.index(deaths[0]) - 2)]
        ended += finished
        if deaths:
            ended += ledger.return_chunk(set(chunk) - set(finished))
    assert sorted(ended) == list(range(photos))
