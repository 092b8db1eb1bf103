"""Damage files by the thousand and look what the readers, the parsers and the weights loader make of them.

Every input ends in success or in one line of the program's own; anything else is a finding: another exception, a
warning or a print of a library, more than 384 MB or 5 s of processor time for files of some kilobytes, or no answer.
Inputs that end the process are counted apart: the program decodes in a process that may die.

    python tests/benchmarks/fuzz.py                          10,000 inputs for each target
    python tests/benchmarks/fuzz.py --target png --seed 7    one target, other inputs

Needs no data. With --larger, the examples' captures are damaged too; with --shared, files of that folder, among them
CR3s that LibRaw decodes. An input's number and the seed make it again: --save FOLDER writes those that are findings or
deaths. Linux only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from fuzz.runner import Runner, Tally  # noqa: E402  # the tests' folder is on the path only now
from fuzz.targets import TARGETS, Mutator  # noqa: E402

CAPTURES = TESTS.parent / "examples" / "captures"
#: Files to damage besides the targets' own, below the examples' captures and below shared/.
LARGER = {
    "cr2": (("desk_canon.cr2",),),
    "dng": (("desk_adobe.dng",), ("desk_single.dng",)),
    "tiff": (("desk_photo.tif",),),
    "pgm": (("20260305_101500_042_left.pgm", "20260305_101500_042_right.pgm"),),
}
SHARED = {
    "cr2": (("data/raw/canon_350d_header_only.cr2",),),
    "cr3": (("fixtures/dual_box002.cr3",), ("fixtures/burst_box002.cr3",), ("data/raw/canon_m50_header_only.cr3",)),
    "dng": (("data/raw/sample_1mp.dng",), ("data/raw/sample_1mp_rotated.dng",)),
    "metadata": (("data/raw/canon_350d_header_only.cr2",), ("data/raw/canon_m50_header_only.cr3",)),
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="what to fuzz (default: everything)")
    parser.add_argument("--mutations", type=int, default=10_000, help="damaged inputs for each target")
    parser.add_argument("--seed", type=int, default=1, help="other seeds give other inputs")
    parser.add_argument("--jobs", type=int, default=1, help="processes, a target each")
    parser.add_argument("--larger", action="store_true", help="also damage the examples' captures")
    parser.add_argument("--shared", type=Path, metavar="FOLDER", help="also damage files of this folder")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the inputs that are findings or deaths")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args()


def list_files(name: str, arguments: argparse.Namespace) -> list[list[Path]]:
    """The files that are damaged besides a target's own."""
    found = [[CAPTURES / part for part in parts] for parts in LARGER.get(name, ()) if arguments.larger]
    if arguments.shared is not None:
        found += [[arguments.shared / part for part in parts] for parts in SHARED.get(name, ())]
    return found


def save_inputs(folder: Path, name: str, seed: int, tally: Tally, files: list[list[Path]]) -> None:
    """Write the inputs that ended badly."""
    mutator = Mutator(name, files)
    for index in (*tally.findings, *tally.deaths):
        for file, content in zip(mutator.target.names, mutator.damage(seed, index), strict=True):
            path = folder / f"{name}_{seed}_{index}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def main() -> None:
    """Fuzz, and print a line for each target."""
    arguments = parse_arguments()
    names = arguments.target or list(TARGETS)
    row = "{:10} {:>8} {:>8} {:>8} {:>7} {:>9} {:>8}"
    print(row.format("target", "tried", "read", "refused", "deaths", "findings", "minutes"), flush=True)

    def run(name: str) -> tuple[str, Tally]:
        start = time.monotonic()
        files = list_files(name, arguments)
        with Runner() as runner:
            tally = runner.run(name, arguments.seed, arguments.mutations, files)
        minutes = f"{(time.monotonic() - start) / 60:.1f}"
        counts = (tally.tried, tally.read, tally.refused, len(tally.deaths), len(tally.findings))
        print(row.format(name, *counts, minutes), flush=True)
        for index, problem in (*tally.findings.items(), *tally.deaths.items()):
            print(f"    input {index}: {problem}", flush=True)
        if arguments.save is not None:
            save_inputs(arguments.save, name, arguments.seed, tally, files)
        return name, tally

    with ThreadPoolExecutor(arguments.jobs) as pool:
        tallies = dict(pool.map(run, names))
    if arguments.json is not None:
        figures = {name: dataclasses.asdict(tally) for name, tally in tallies.items()}
        arguments.json.write_text(json.dumps({"seed": arguments.seed, "targets": figures}, indent=2) + os.linesep)
    sys.exit(any(tally.findings for tally in tallies.values()))


if __name__ == "__main__":
    main()
