"""Each fault once, with chance held fast; `benchmarks/inject_faults.py` does the same hundreds of times."""

from __future__ import annotations

import functools
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from faults.processes import NotHere
from faults.scenarios import SCENARIOS, Scenario, kill
from faults.shoots import Shoot
from tiny_networks import write_gkmnet

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, mounts and /proc of Linux")

#: `run` loads torch for seconds: its faults are left to the benchmark, and its interruption to the tests of the cli.
QUICK: dict[str, Scenario] = SCENARIOS | {"kill": functools.partial(kill, most=2)}
del QUICK["kill_run"], QUICK["name_badly_run"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gkmnet(tmp_path_factory.mktemp("weights") / "same.safetensors")


@pytest.mark.parametrize("name", QUICK)
def test_a_batch_survives(name: str, weights: Path, tmp_path: Path) -> None:
    try:
        QUICK[name](tmp_path / "shoot", weights, random.Random(f"0 {name}"))
    except NotHere as reason:
        pytest.skip(str(reason))


def make_done(folder: Path) -> Shoot:
    """A shoot whose results are there, written by hand."""
    shoot = Shoot(folder / "shoot")
    shoot.add_photos("ab", size=(8, 8))
    shoot.output.mkdir()
    for results in shoot.photos.values():
        for file, codes in results.items():
            tifffile.imwrite(shoot.output / file, codes, photometric="rgb")
    shoot.check()
    return shoot


@pytest.mark.parametrize("harm", ["half", "other", "original", "stranger", "gone"])
def test_the_checks_can_fail(harm: str, tmp_path: Path) -> None:
    shoot = make_done(tmp_path)
    result, original = shoot.output / "a_left.tif", shoot.input / "a_left.tif"
    if harm == "half":
        result.write_bytes(result.read_bytes()[:-1])
    elif harm == "other":
        tifffile.imwrite(result, np.zeros((8, 8, 3), np.uint16), photometric="rgb")
    elif harm == "original":
        original.write_bytes(original.read_bytes() + b" ")
    elif harm == "stranger":
        (shoot.output / "c.tif").write_bytes(b"")
    else:
        original.unlink()
    with pytest.raises((AssertionError, OSError, ValueError)):
        shoot.check()
