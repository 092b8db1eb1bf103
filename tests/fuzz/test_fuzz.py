"""A slice of what `tests/benchmarks/fuzz.py` does at length: input is read or refused in one line, and that is all."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from metadata_sources import Builder, build_source, wrap_in_png

from dpdeblur.errors import DpDeblurError
from fuzz.mutations import OPERATIONS, find_fields, mutate
from fuzz.runner import Runner
from fuzz.targets import TARGETS, TRAPS, Mutator, repair_png

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's view of memory")

#: Inputs for each target; those of slow ones.
MUTATIONS = 300
FEWER = {"cr2": 150, "dng": 150, "weights": 100, "import": 200}
#: LibRaw may die of what no other program has seen; `run` decodes in a process that may.
MAY_DIE = {"cr2", "cr3", "dng", "raw"}
#: Seeds that are not good: without a picture, foreign, or without the tensors that their card promises.
BAD = {"cr3": {0, 1, 2}, "raw": {2}, "weights": {6}, "import": {6, 7, 8, 9, 10, 11, 12}}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as started:
        yield started


@pytest.mark.parametrize("name", list(TARGETS))
def test_damaged_input_is_read_or_refused_in_one_line(runner: Runner, name: str) -> None:
    count = FEWER.get(name, MUTATIONS)
    tally = runner.run(name, seed=1, count=count)
    assert tally.findings == {}
    assert tally.deaths == {} or name in MAY_DIE
    assert tally.tried == count == tally.read + tally.refused + len(tally.deaths)


@pytest.mark.parametrize("name", list(TARGETS))
def test_undamaged_seeds_are_read(tmp_path: Path, name: str) -> None:
    mutator = Mutator(name)
    refused = set()
    for number, seeds in enumerate(mutator.seeds):
        paths = tuple(tmp_path / file for file in mutator.target.names)
        for path, seed in zip(paths, seeds, strict=True):
            path.write_bytes(seed.file)
        try:
            mutator.target.act(paths)
        except DpDeblurError:
            refused.add(number)
    assert refused == BAD.get(name, set())


@pytest.fixture(scope="module")
def impatient_runner() -> Iterator[Runner]:
    with Runner(hang_s=10) as started:
        yield started


@pytest.mark.parametrize("name", list(TRAPS))
def test_the_harness_notices(impatient_runner: Runner, name: str) -> None:
    tally = impatient_runner.run(name, seed=1, count=1)
    expected = {
        "trap: raises": "ZeroDivisionError",
        "trap: dies": "",
        "trap: hangs": "no answer for 10 s",
        "trap: prints": "printed: 'libfoo: oops'",
        "trap: warns": "warned: RuntimeWarning: a remark of a library",
        "trap: grows": "took 457 MB",
        "trap: asks for the moon": "MemoryError",
    }[name]
    if name == "trap: dies":
        assert (tally.tried, list(tally.deaths)) == (1, [0])
    else:
        assert expected in tally.findings[0]


def test_the_same_numbers_give_the_same_damage_and_others_another() -> None:
    first, second = Mutator("metadata"), Mutator("metadata")
    damaged = [first.damage(1, index) for index in range(200)]
    assert damaged == [second.damage(1, index) for index in range(200)]
    assert damaged != [second.damage(2, index) for index in range(200)]
    whole = {tuple(seed.file for seed in seeds) for seeds in first.seeds}
    assert sum(content not in whole for content in damaged) > 190


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_every_operation_changes_something_and_survives_nothing(operation: object) -> None:
    changed = 0
    for seed in range(50):
        content = bytearray(build_source())
        operation(content, random.Random(seed), [b"another file" * 20])  # type: ignore[operator]
        changed += bytes(content) != build_source()
        empty = bytearray()
        operation(empty, random.Random(seed), [])  # type: ignore[operator]
    assert changed > 25
    assert isinstance(mutate(b"", random.Random(1), []), bytes)


@pytest.mark.parametrize("order", ["<", ">"])
def test_offsets_and_counts_of_a_tiff_are_found_as_fields(order: str) -> None:
    builder = Builder(order)
    content = builder.header(8) + builder.directory([builder.text(0x10E, "a description")], 8)
    # the first directory's offset, the entry's count and its value's offset
    assert {(4, order), (14, order), (18, order)} <= set(find_fields(content))


def test_a_repaired_png_has_the_checksums_that_its_chunks_have(tmp_path: Path) -> None:
    whole = wrap_in_png((b"eXIf", build_source()))
    broken = bytearray(whole)
    broken[60] ^= 1
    assert repair_png(bytes(broken)) != bytes(broken)
    assert repair_png(whole) == whole
    assert repair_png(b"no png at all") == b"no png at all"
    struct.pack_into(">I", broken, 33, 2**31)
    assert repair_png(bytes(broken))[33:37] == struct.pack(">I", 2**31)
