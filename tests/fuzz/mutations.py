"""Seeded damage: changes that break parsers, made again to the last byte by the same `random.Random`.

Most operations know nothing of formats. Counts and offsets are found by what they are: 32-bit numbers no larger than
the file, which are rare among pixels and compressed data, and everywhere in tables.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

import numpy as np

Operation = Callable[[bytearray, random.Random, Sequence[bytes]], None]

#: Where counters wrap, signs change, products overflow and sizes become absurd.
INTERESTING = (
    *(0, 1, 2, 3, 4, 7, 8, 12, 16, 64, 100, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 60000, 65535, 65536, 100_000),
    *(2**24, 2**28, 2**30, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1, 2**32, 2**48, 2**63 - 1, 2**63, 2**64 - 1),
)
_HEAD_BYTES = 512
_LONGEST_BLOCK_BYTES = 400
_CODES = {2: "H", 4: "I", 8: "Q"}


def mutate(content: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Damage a file's content by one to eight operations.

    Args:
        content: What is there.
        chance: Decides everything.
        others: Contents to splice from.
    """
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        chance.choice(OPERATIONS)(changed, chance, others)
    return bytes(changed)


def find_fields(content: bytes) -> tuple[tuple[int, str], ...]:
    """Find what may be counts, offsets and lengths: place and byte order of 32-bit numbers from 1 to twice the size."""
    found: list[tuple[int, str]] = []
    for shift in range(4):
        count = (len(content) - shift) // 4
        for order in "<>" if count > 0 else "":
            numbers = np.frombuffer(content, order + "u4", count, shift)
            places = np.flatnonzero((numbers > 0) & (numbers <= 2 * len(content)))
            found += [(4 * int(place) + shift, order) for place in places]
    return tuple(found)


def _choose_place(content: bytearray, chance: random.Random) -> int:
    """Anywhere, or more often among the first bytes, where the structure is."""
    return chance.randrange(max(1, min(len(content), chance.choice((_HEAD_BYTES, len(content))))))


def _choose_block(content: bytearray, chance: random.Random) -> slice:
    start = _choose_place(content, chance)
    return slice(start, start + chance.randint(1, chance.choice((4, 12, _LONGEST_BLOCK_BYTES))))


def _flip_bit(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    if content:
        content[_choose_place(content, chance)] ^= 1 << chance.randrange(8)


def _set_byte(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    if content:
        content[_choose_place(content, chance)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))


def _set_integer(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    _write(content, _choose_place(content, chance), chance.choice("<>"), chance)


def _set_field(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    fields = find_fields(bytes(content))
    if fields:
        # the number itself, or its neighbour: TIFF's types and counts stand before its offsets
        place, order = chance.choice(fields)
        _write(content, max(0, place + chance.choice((0, 0, 0, -2, -4, 4))), order, chance)


def _write(content: bytearray, place: int, order: str, chance: random.Random) -> None:
    size = chance.choice((2, 4, 4, 8))
    if place + size > len(content):
        return
    limit = 256**size
    (old,) = struct.unpack_from(order + _CODES[size], content, place)
    number = chance.choice((*INTERESTING, len(content), len(content) - place, old + 1, old - 1, old * 2, old // 2))
    struct.pack_into(order + _CODES[size], content, place, number % limit)


def _truncate(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    del content[_choose_place(content, chance) :]


def _insert(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    size = chance.randint(1, chance.choice((4, 64, _LONGEST_BLOCK_BYTES)))
    block = bytes((chance.choice((0, 255, 32, 1)),)) * size if chance.random() < 0.5 else chance.randbytes(size)
    place = _choose_place(content, chance)
    content[place:place] = block


def _delete(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    del content[_choose_block(content, chance)]


def _duplicate(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    block = content[_choose_block(content, chance)] * chance.choice((1, 1, 2, 30))
    place = _choose_place(content, chance)
    content[place:place] = block


def _overwrite(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    """Put one block of the file over another."""
    block = content[_choose_block(content, chance)]
    place = _choose_place(content, chance)
    content[place : place + len(block)] = block


def _splice(content: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    """Go on with another file from some place on, or take a block of it."""
    other = bytearray(chance.choice(others)) if others else bytearray()
    if not other:
        return
    place = _choose_place(content, chance)
    if chance.random() < 0.5:
        content[place:] = other[_choose_place(other, chance) :]
    else:
        block = other[_choose_block(other, chance)]
        content[place : place + len(block)] = block


OPERATIONS: tuple[Operation, ...] = (
    *(_flip_bit, _set_byte, _set_integer, _set_integer, _set_field, _set_field, _set_field),
    *(_truncate, _insert, _delete, _duplicate, _overwrite, _splice),
)
