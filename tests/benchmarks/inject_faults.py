"""Do harm to batches, many times at random, and count what was survived.

Every fault of tests/faults/scenarios.py works on the program itself, in processes of its own, with six small photos.
After each: originals byte-identical, no half file under a final name, the rest done, the exit code right, and the next
run does what is left, only that, and clears unfinished files. Needs no data; Linux, for signals and mounts.

    python tests/benchmarks/inject_faults.py --seed 1 --json faults.json
    python tests/benchmarks/inject_faults.py kill=140 kill_run=60
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from faults.processes import NotHere  # noqa: E402  the tests' folder is on the path only now
from faults.scenarios import SCENARIOS  # noqa: E402
from tiny_networks import write_gkmnet  # noqa: E402

#: How often each fault is tried when nothing is said.
COUNTS = {"kill": 160, "kill_run": 40, "kill_decoder": 20, "interrupt": 30, "vanish": 20}
COUNT = 10


def inject(name: str, count: int, seed: int, weights: Path) -> dict[str, Any]:
    """Try one fault at least so many times.

    Returns:
        The fault, how often it was tried and survived, and the first lines of what was not.
    """
    tried, survived, failures, absent = 0, 0, [], ""
    start = time.monotonic()
    while tried < count and not absent:
        rng = random.Random(f"{seed} {name} {tried}")
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            try:
                times = SCENARIOS[name](Path(folder) / "shoot", weights, rng) or 1
                tried, survived = tried + times, survived + times
            except NotHere as error:
                absent = str(error)
            except AssertionError as error:
                failures.append(f"{name} {tried}: {str(error)[:2000]}")
                tried += 1
                print(failures[-1], file=sys.stderr, flush=True)
    return {
        "fault": name,
        "tried": tried,
        "survived": survived,
        "seconds": round(time.monotonic() - start, 1),
        "failures": failures,
        "absent": absent,
    }


def main() -> int:
    """Try all faults, print a table, and return 1 where one was not survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT[=COUNT]", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the counts that are not given")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="faults-weights-") as folder:
        weights = write_gkmnet(Path(folder) / "same.safetensors")
        for text in arguments.faults or SCENARIOS:
            name, _, count = text.partition("=")
            if name not in SCENARIOS:
                parser.error(f"there is no fault {name}")
            default = max(1, round(COUNTS.get(name, COUNT) * arguments.share))
            result = inject(name, int(count or default), arguments.seed, weights)
            results.append(result)
            what = f"not here: {result['absent']}" if result["absent"] else f"{result['survived']}/{result['tried']}"
            print(f"{name:16} {what:>10}  {result['seconds']:7.1f} s  {SCENARIOS[name].__doc__}", flush=True)
    tried, survived = (sum(result[key] for result in results) for key in ("tried", "survived"))
    print(f"{'all':16} {f'{survived}/{tried}':>10}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"seed": arguments.seed, "faults": results}, indent=2) + "\n")
    return int(survived != tried)


if __name__ == "__main__":
    raise SystemExit(main())
