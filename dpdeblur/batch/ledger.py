"""Which photos of a batch are to be handed out next, and which have cost too many workers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection

#: A photo is given up after so many workers have died with it.
MOST_DEATHS = 3
#: Photos that a worker has in hand at once: one decoded, one restored, one written.
IN_HAND = 3
_LARGEST_CHUNK = 32


class Ledger:
    """Hands out photos, by their numbers, in chunks that shrink towards the end, so that all workers end together.

    When a worker dies, the photos that it had not finished are handed out again; those that it may have had in hand are
    suspected of having killed it, and go to a worker alone.
    """

    def __init__(self, photos: int, workers: int) -> None:
        """Begin.

        Args:
            photos: How many there are.
            workers: How many work on them.
        """
        self._workers = workers
        self._fresh = deque(range(photos))
        self._suspects: deque[int] = deque()
        self._deaths: Counter[int] = Counter()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hand out at the moment."""
        return not self._fresh and not self._suspects

    def take_chunk(self) -> list[int]:
        """The numbers that a worker shall do next, in order; nothing where all are handed out."""
        if not self._fresh:
            return [self._suspects.popleft()] if self._suspects else []
        size = max(1, min(_LARGEST_CHUNK, len(self._fresh) // (2 * self._workers)))
        return [self._fresh.popleft() for _ in range(size)]

    def return_chunk(self, unfinished: Collection[int]) -> list[int]:
        """Take back what a dead worker had not finished.

        Returns:
            The numbers that are given up.
        """
        given_up = []
        in_order = sorted(unfinished)
        for number in in_order[:IN_HAND]:
            self._deaths[number] += 1
            if self._deaths[number] < MOST_DEATHS:
                self._suspects.append(number)
            else:
                given_up.append(number)
        self._fresh.extendleft(reversed(in_order[IN_HAND:]))
        return given_up
