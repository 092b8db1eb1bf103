"""How near a batch comes to its slowest stage alone, and whether overlapping pays on few cores.

First part: raws of 24 megapixels are decoded by the program's own process and written as TIFF, while inference is a
stand-in that waits, as for a GPU. Each stage is timed alone, then the batch; the ratio is the batch over its slowest
stage alone. Filling and draining the line costs one photo's other two stages, which no overlap can save: the least
ratio that leaves is printed too.

Second part: inference is GKMNet on the CPU. The batch is timed with its stages overlapping and one photo after the
other, in turns; the least of each counts, and so it does for the processor time of both processes, which other programs
disturb less. `python tests/benchmarks/overlap.py --cores 2` keeps to two cores (Linux).
Needs no data; the raws are synthetic.

    python tests/benchmarks/overlap.py --wait 10 --json overlap.json
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]
# as the program itself does before torch starts (dpdeblur/cli.py)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from captures import draw_views, dual_frames, write_dual_dng, write_single_dng  # noqa: E402  on the path only now

from dpdeblur.batch.outputs import Wanted  # noqa: E402
from dpdeblur.batch.overlap import Batch, Outcome, find_limit  # noqa: E402
from dpdeblur.batch.plan import Job  # noqa: E402
from dpdeblur.batch.stages import Task, Written, read_framed  # noqa: E402
from dpdeblur.batch.worker import Worker  # noqa: E402
from dpdeblur.framing import WHOLE  # noqa: E402
from dpdeblur.photo import Photo  # noqa: E402
from dpdeblur.pipeline import Restoration  # noqa: E402
from dpdeblur.readers import Capture, ReadOptions  # noqa: E402
from dpdeblur.restoration.inference import Settings  # noqa: E402
from dpdeblur.writers import WriteOptions, write_image  # noqa: E402

READ = functools.partial(read_framed, options=ReadOptions(), framing=WHOLE)


class StandIn:
    """The stages of `run` with a network that waits elsewhere and changes nothing."""

    def __init__(self, wait_s: float) -> None:
        """Take the time of the network."""
        self._wait_s = wait_s

    def estimate_bytes(self, photo: Photo) -> int:
        """As `Restoration` does."""
        return photo.base.size * 2

    def process(self, photo: Photo) -> Photo:
        """Wait."""
        time.sleep(self._wait_s)
        return photo

    def write(self, photo: Photo, outputs: tuple[Path, ...]) -> Written:
        """Write the photo as it was developed."""
        write_image(outputs[0], photo.base, photo, WriteOptions(), provenance="overlap; nothing was changed")
        return Written(photo.base.shape[1], photo.base.shape[0], (), {})


def write_raws(folder: Path, count: int, megapixels: float, *, dual: bool) -> list[Job]:
    """Write one raw, as so many files, and plan their results."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5 / 2) * 2
    left, right = draw_views(height, round(height * 0.75) * 2)
    frames = dual_frames(left, right, electrons_at_white=60000, read_noise=3, seed=1)
    first = folder / "00.dng"
    if dual:
        write_dual_dng(first, *frames)
    else:
        write_single_dng(first, frames[0])
    paths = [first, *(folder / f"{number:02}.dng" for number in range(1, count))]
    for path in paths[1:]:
        os.link(first, path)
    return [Job(Capture((path,)), (folder / "out" / f"{path.stem}.tif",)) for path in paths]


def time_call(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run_batch(jobs: Sequence[Job], task: Task, worker: Worker, *, overlapping: bool = True) -> None:
    """Take the jobs through the stages, anew."""
    shutil.rmtree(jobs[0].outputs[0].parent, ignore_errors=True)
    outcomes: list[Outcome] = []
    batch = Batch(
        READ, lambda: task, worker=worker, wanted=Wanted("run"), report=outcomes.append, postpone=outcomes.append
    )
    for part in [jobs] if overlapping else [[job] for job in jobs]:
        batch.run(part)
    assert [outcome.status for outcome in outcomes] == ["done"] * len(jobs), outcomes


def time_stages(jobs: Sequence[Job], task: StandIn, worker: Worker) -> dict[str, float]:
    """Seconds that each stage of all jobs takes alone."""

    def read() -> Photo:
        photo: Photo = worker.call(find_limit(jobs[0].capture.paths), READ, jobs[0].capture)
        return photo

    photo = read()  # the process is started and has its modules
    jobs[0].outputs[0].parent.mkdir(exist_ok=True)
    return {
        "read": time_call(lambda: [read() for _ in jobs]),
        "process": time_call(lambda: [task.process(photo) for _ in jobs]),
        "write": time_call(lambda: [task.write(photo, job.outputs) for job in jobs]),
    }


def compare_with_stages(jobs: Sequence[Job], wait_s: float, worker: Worker) -> dict[str, Any]:
    """Time each stage of all jobs alone, and the batch."""
    task = StandIn(wait_s)
    alone = time_stages(jobs, task, worker)
    seconds = time_call(lambda: run_batch(jobs, task, worker))
    slowest = max(alone.values())
    least = 1 + (sum(alone.values()) - slowest) / len(jobs) / slowest
    return {"wait_s": wait_s, "alone_s": alone, "batch_s": seconds, "ratio": seconds / slowest, "least": least}


def compare_with_serial(jobs: Sequence[Job], scale: float, rounds: int, worker: Worker) -> dict[str, Any]:
    """Time a real batch with its stages overlapping and without, in turns."""
    task = Restoration(
        read_options=ReadOptions(),
        write_options=WriteOptions(),
        settings=Settings(device="cpu", working_scale=scale),
        model="gkmnet",
        weights=None,
        framing=WHOLE,
        announce=print,
        advance=lambda share: None,
        keeps_photo=False,
    )
    run_batch(jobs[:1], task, worker)
    times: dict[bool, list[float]] = {True: [], False: []}
    processor_times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for overlapping, seconds in times.items():
            start = time.process_time() + worker.call(60, time.process_time)
            seconds.append(time_call(lambda choice=overlapping: run_batch(jobs, task, worker, overlapping=choice)))
            processor_times[overlapping].append(time.process_time() + worker.call(60, time.process_time) - start)
    overlapped, serial = min(times[True]), min(times[False])
    cpu_ratio = min(processor_times[True]) / min(processor_times[False])
    return {
        "overlapped_s": overlapped,
        "serial_s": serial,
        "ratio": overlapped / serial,
        "cpu_ratio": cpu_ratio,
        "rounds": list(zip(times[True], times[False], strict=True)),
    }


def main() -> None:
    """Run both parts and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10, help="of the first part; 0 leaves it out")
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--single", action="store_true", help="raws with one frame instead of two")
    parser.add_argument("--wait", type=float, nargs="+", default=[10.0], help="seconds that the stand-in waits")
    parser.add_argument("--real-photos", type=int, default=6, help="of the second part; 0 leaves it out")
    parser.add_argument("--real-megapixels", type=float, default=6)
    parser.add_argument("--scale", type=float, default=0.25, help="the working scale of the second part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, help="keep to so many cores")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
        import torch

        torch.set_num_threads(arguments.cores)
    figures: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "photos": arguments.photos, "stand_in": []}
    if arguments.photos:
        with tempfile.TemporaryDirectory(prefix="overlap-") as folder, Worker() as worker:
            jobs = write_raws(Path(folder), arguments.photos, arguments.megapixels, dual=not arguments.single)
            for wait_s in arguments.wait:
                result = compare_with_stages(jobs, wait_s, worker)
                figures["stand_in"].append(result)
                alone = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result["alone_s"].items())
                print(f"{len(jobs)} raws of {arguments.megapixels:g} megapixels, alone: {alone} s; batch", end=" ")
                print(f"{result['batch_s']:.1f} s, {result['ratio']:.3f} of the slowest (least: {result['least']:.3f})")
    if arguments.real_photos:
        with tempfile.TemporaryDirectory(prefix="overlap-") as folder, Worker() as worker:
            jobs = write_raws(Path(folder), arguments.real_photos, arguments.real_megapixels, dual=False)
            real = figures["real"] = compare_with_serial(jobs, arguments.scale, arguments.rounds, worker)
            print(f"{len(jobs)} raws of {arguments.real_megapixels:g} megapixels by GKMNet at scale", end=" ")
            print(f"{arguments.scale:g} on {figures['cores']} cores: overlapped {real['overlapped_s']:.1f} s,", end=" ")
            print(f"one by one {real['serial_s']:.1f} s, {real['ratio']:.3f}; processor time {real['cpu_ratio']:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
