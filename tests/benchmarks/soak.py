"""Restore a thousand small photos, one in twenty broken, and watch memory, open files, threads and processes.

The photos are TIFF, PNG, JPEG, pairs, CR2 and DNG; broken ones are cut short, empty, or noise. The decoder's process is
killed now and then, too. The program runs in a process of its own and is looked at from outside, through /proc (Linux).
Flat means: from the fifty photos after the first fifty to the last fifty, the median of the resident memory grows by
less than 3 %, and files, threads and processes by none. The decoder is killed in the first third only, and its own
memory compared over the second half: each new one takes a hundred photos to have seen all kinds. Needs no data.

    python tests/benchmarks/soak.py --photos 1000 --json soak.json --plot soak.png
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import cv2  # noqa: E402  the tests' folder is on the path only now
import numpy as np  # noqa: E402
from captures import draw_views, dual_frames, write_dual_cr2, write_single_dng  # noqa: E402
from faults.processes import list_children  # noqa: E402
from faults.shoots import ENVIRONMENT, PROGRAM  # noqa: E402
from mosaics import encode_srgb  # noqa: E402
from tiny_networks import write_gkmnet  # noqa: E402

_GROWTH_LIMIT = 0.03
_WARM_PHOTOS = 50


@dataclasses.dataclass(frozen=True)
class Sample:
    """The program at one moment.

    Attributes:
        photos: How many photos had ended.
        memory_mib: Resident memory of the program.
        decoder_mib: The same of its decoder, 0 where there is none at the moment.
        files: Open files of the program.
        threads: Its threads.
        processes: Its child processes.
    """

    photos: int
    memory_mib: float
    decoder_mib: float
    files: int
    threads: int
    processes: int


def write_photos(folder: Path, count: int, broken_share: float, rng: random.Random) -> int:
    """Write the photos, and return how many of them are broken."""
    left, right = draw_views(64, 96)
    frames = dual_frames(left, right)
    codes = encode_srgb(left, 65535)[..., ::-1]
    models: dict[str, bytes] = {
        ".tif": cv2.imencode(".tif", codes)[1].tobytes(),
        ".png": cv2.imencode(".png", codes)[1].tobytes(),
        ".jpg": cv2.imencode(".jpg", (codes >> 8).astype(np.uint8))[1].tobytes(),
    }
    write_dual_cr2(folder / "model.cr2", *frames)
    write_single_dng(folder / "model.dng", frames[0])
    for path in sorted(folder.iterdir()):
        models[path.suffix] = path.read_bytes()
        path.unlink()
    kinds, broken = sorted(models), 0
    for number in range(count):
        kind = kinds[number % len(kinds)]
        content = models[kind]
        if rng.random() < broken_share:
            broken += 1
            content = rng.choice((content[: len(content) // 2], b"", rng.randbytes(2000)))
        (folder / f"{number:05}{kind}").write_bytes(content)
    return broken


def look_at(pid: int) -> tuple[float, int, int]:
    """Return a process's resident memory in MiB, its open files and its threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024, len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"])


def watch(command: list[str | Path], log: Path, errors: Path, kills: list[int]) -> tuple[list[Sample], int]:
    """Run the program and look at it four times a second.

    Args:
        command: The program.
        log: Its log, by which photos are counted.
        errors: Where its standard error goes.
        kills: After how many photos its decoder is killed, in ascending order.

    Returns:
        What was seen, and the exit code.
    """
    samples: list[Sample] = []
    with errors.open("w") as stderr, subprocess.Popen(command, env=ENVIRONMENT, stderr=stderr) as process:
        while process.poll() is None:
            time.sleep(0.25)
            photos = log.read_bytes().count(b"\n") if log.exists() else 0
            try:
                memory_mib, files, threads = look_at(process.pid)
                children = list_children(process.pid)
                decoder_mib = sum(look_at(child)[0] for child in children)
            except (OSError, KeyError):  # one of them has just ended
                continue
            samples.append(Sample(photos, memory_mib, decoder_mib, files, threads, len(children)))
            if kills and photos >= kills[0] and children:
                kills.pop(0)
                os.kill(children[0], signal.SIGKILL)
    return samples, process.returncode


def summarize(samples: list[Sample], count: int) -> dict[str, dict[str, float]]:
    """Compare fifty early photos with the last fifty, by medians."""
    late = [sample for sample in samples if count - _WARM_PHOTOS <= sample.photos < count]
    figures = {}
    for field in ("memory_mib", "decoder_mib", "files", "threads", "processes"):
        start = count // 2 if field == "decoder_mib" else _WARM_PHOTOS
        early = [sample for sample in samples if start <= sample.photos < start + _WARM_PHOTOS]
        first, last = (statistics.median(getattr(sample, field) for sample in part) for part in (early, late))
        most = max(getattr(sample, field) for sample in samples if sample.photos >= _WARM_PHOTOS)
        figures[field] = {"early": first, "late": last, "most": most}
    return figures


def is_flat(figures: dict[str, dict[str, float]]) -> bool:
    """Whether nothing grew."""
    return all(
        figure["late"] <= figure["early"] * (1 + (_GROWTH_LIMIT if field.endswith("_mib") else 0))
        for field, figure in figures.items()
    )


def draw_plot(samples: list[Sample], path: Path) -> None:
    """Draw memory over photos, the program above its decoder."""
    width, height, margin = 640, 240, 36
    canvas = np.full((height, width, 3), 255, np.uint8)
    samples = [sample for sample in samples if sample.decoder_mib]  # not while it is started, nor at the end
    most_photos = max(sample.photos for sample in samples)
    most_mib = 1.1 * max(sample.memory_mib for sample in samples)
    for field, colour in (("memory_mib", (160, 80, 0)), ("decoder_mib", (0, 120, 220))):
        points = np.array(
            [
                (
                    margin + sample.photos / most_photos * (width - 2 * margin),
                    height - margin - getattr(sample, field) / most_mib * (height - 2 * margin),
                )
                for sample in samples
            ]
        )
        cv2.polylines(canvas, [points.astype(np.int32)], False, colour, 1, cv2.LINE_AA)
        place = (int(points[-1][0]) - 150, int(points[-1][1]) - 8)
        text = f"{field.removesuffix('_mib')} {getattr(samples[-1], field):.0f} MiB"
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    axes = np.array([(margin, margin), (margin, height - margin), (width - margin, height - margin)])
    cv2.polylines(canvas, [axes.astype(np.int32)], False, (0, 0, 0), 1)
    label = f"photos 0 to {most_photos}"
    cv2.putText(canvas, label, (margin, height - 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    path.write_bytes(cv2.imencode(".png", canvas)[1].tobytes())


def main() -> int:
    """Run the batch, print the figures, and return 1 where something grew or a photo was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--broken", type=float, default=0.05, help="share of broken photos")
    parser.add_argument("--kills", type=int, default=10, help="how often the decoder is killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write figures and samples here too")
    parser.add_argument("--plot", type=Path, help="draw the memory here, a PNG")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        (folder / "in").mkdir()
        broken = write_photos(folder / "in", arguments.photos, arguments.broken, rng)
        weights = write_gkmnet(folder / "same.safetensors")
        command = [*PROGRAM, "run", folder / "in", "-o", folder / "out", "--log", folder / "log"]
        command += ["--weights", weights, "--device", "cpu", "--scale", "1"]
        kills = sorted(rng.sample(range(_WARM_PHOTOS, arguments.photos // 3), arguments.kills))
        start = time.monotonic()
        samples, code = watch(command, folder / "log", folder / "errors", kills)
        seconds = time.monotonic() - start
        statuses = [json.loads(line)["status"] for line in (folder / "log").read_text().splitlines()]
        results = len(list((folder / "out").glob("*.tif")))
        unfinished = len(list((folder / "out").glob(".*")))
    finally:
        shutil.rmtree(folder)
    figures = summarize(samples, arguments.photos)
    is_complete = (
        code == 1
        and len(statuses) == arguments.photos
        and statuses.count("failed") == broken
        and results == statuses.count("done") == arguments.photos - broken
        and unfinished == 0
    )
    print(
        f"{arguments.photos} photos in {seconds:.0f} s: {results} done, {statuses.count('failed')} of {broken} broken"
    )
    print(f"ones failed, {arguments.kills} kills of the decoder, {unfinished} unfinished files, exit code {code}")
    print(f"{'':12} {'after 50':>9} {'at the end':>11} {'most':>8}")
    for field, figure in figures.items():
        print(f"{field:12} {figure['early']:9.1f} {figure['late']:11.1f} {figure['most']:8.1f}")
    print("flat" if is_flat(figures) else "NOT FLAT", "and", "complete" if is_complete else "NOT COMPLETE")
    if arguments.json:
        content = {
            "photos": arguments.photos,
            "broken": broken,
            "kills": arguments.kills,
            "seconds": round(seconds, 1),
            "done": results,
            "exit_code": code,
            "figures": figures,
            "samples": [dataclasses.astuple(sample) for sample in samples[:: max(1, len(samples) // 500)]],
        }
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.plot:
        draw_plot(samples, arguments.plot)
    return int(not (is_flat(figures) and is_complete))


if __name__ == "__main__":
    raise SystemExit(main())
