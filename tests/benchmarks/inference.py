"""Time each network against its plain form and against the machine's matrix product, in one process and one run.

    python tests/benchmarks/inference.py [--network gkmnet ...] [--size 1120x1680] [--precision fp32 bf16] [--json FILE]

The plain form is the network as its paper would be typed in: full 21x21 Gaussians in a grouped convolution that keeps
all 132 maps, nine grid samples for a deformable convolution, 81 shifted products for local correlation, each layer by
itself on planes. It shares the weights with the fast form, so their largest difference is a check as well as a figure.

Forms take turns, round after round, and the least of each counts: what else the machine does slows single rounds.
`cpu s` is processor time over all threads, which other programs disturb less. `peak` is what a form adds to the
resident memory of the process (Linux; on CUDA, to the allocated memory). `of matmul` is the form's rate, counted in
multiplications and additions of the plain form, over that of a square matrix product in the same precision, of 2048
rows, or on CUDA 8192. The C library's allocator is set as the program sets it: left alone, it has the system clear each
large map anew. So on a CPU the plain form runs in a process of its own, too, which leaves allocator and threads as they
are found (`untuned`): that is what whoever types the paper in gets. `ratio` is to the plain form beside the fast one,
`untuned` to that.

On a GPU, the tiles that the program gives GKMNet: --network gkmnet --size 368x368 --batch 15 --device cuda
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# as the program itself does before torch starts (dpdeblur/cli.py)
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "THP_MEM_ALLOC_ENABLE": "1"}
IS_UNTUNED = "--untuned" in sys.argv
if not IS_UNTUNED:
    for variable, value in SETTINGS.items():
        os.environ.setdefault(variable, value)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from dpdeblur.commands.restart import restart_with_tunables  # noqa: E402
from dpdeblur.networks import K3DN_SIZES, NETWORKS, deform, dpanet, gkmnet, layers, mixture, srp, triplet  # noqa: E402
from dpdeblur.networks.network import Network  # noqa: E402
from dpdeblur.restoration.devices import DTYPES, choose_device  # noqa: E402
from dpdeblur.restoration.memory import return_freed_memory, tune_allocator  # noqa: E402
from dpdeblur.weights import WEIGHTS_FOLDER, load_weights  # noqa: E402

#: network -> keyword arguments of the form that is timed, and its default height and width
CASES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "gkmnet": ({}, (1120, 1680)),
    "dpanet": ({"width": 64}, (560, 848)),
    "k3dn": (K3DN_SIZES["large"], (1152, 1792)),
}


@dataclasses.dataclass
class Form:
    """A way to compute one network, and what it took."""

    name: str
    precision: str
    run: Callable[[], Tensor]
    seconds: float = float("inf")
    cpu_seconds: float = float("inf")
    peak_bytes: int = 0
    result: Tensor | None = None


def mix_plainly(self: mixture.Mixture, blurred: Tensor, previous: Tensor, coefficients: mixture.Maps) -> Tensor:
    """All 132 maps by full two-dimensional kernels in two grouped convolutions, weighed, and joined by the 1x1."""
    margin = max(window for _, window in mixture.GAUSSIANS) // 2
    kernels = torch.zeros(mixture.KERNELS, 2 * margin + 1, 2 * margin + 1, device=blurred.device)
    kernels[0, margin, margin] = 1
    for number, (sigma, window) in enumerate(mixture.GAUSSIANS, start=1):
        profile = functional.pad(mixture.sample_gaussian(sigma, window), (margin - window // 2,) * 2)
        kernels[number] = torch.outer(profile, profile)
    chosen = [kernel for row in mixture.assign_kernels(self.released) for kernel in row]
    weight = kernels[chosen].unsqueeze(1)
    maps = [functional.conv2d(image, weight, padding=margin, groups=3) for image in (blurred, previous)]
    halves = coefficients(slice(0, blurred.shape[2])).chunk(2, 1)
    weighed = [part * half.repeat(1, 3, 1, 1) for part, half in zip(maps, halves, strict=True)]
    return functional.conv2d(torch.cat(weighed, 1), self.output.weight, self.output.bias)


def deform_plainly(features: Tensor, offsets: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Nine grid samples of the whole map, one for each tap, each weighed and put through its 1x1 convolution."""
    height, width = features.shape[2:]
    rows = torch.arange(height, device=features.device, dtype=offsets.dtype).view(1, height, 1)
    columns = torch.arange(width, device=features.device, dtype=offsets.dtype).view(1, 1, width)
    result = bias.view(1, -1, 1, 1)
    for tap in range(9):
        y = rows + tap // 3 - 1 + offsets[:, 2 * tap]
        x = columns + tap % 3 - 1 + offsets[:, 2 * tap + 1]
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)
        samples = functional.grid_sample(features.to(offsets.dtype), grid, align_corners=False)
        taken = weight[:, :, tap // 3, tap % 3, None, None]
        result = result + functional.conv2d(samples * modulation[:, tap : tap + 1], taken)
    return result


def correlate_plainly(left: Tensor, right: Tensor, radius: int = 4) -> Tensor:
    """81 products of the left map with the shifted right one, averaged over channels."""
    height, width = left.shape[2:]
    padded = functional.pad(right, (radius,) * 4)
    side = range(2 * radius + 1)
    return torch.cat(
        [(left * padded[:, :, y : y + height, x : x + width]).mean(1, keepdim=True) for y in side for x in side], 1
    )


@contextlib.contextmanager
def in_plain_form() -> Iterator[None]:
    """Replace what the networks compute cleverly."""
    with (
        mock.patch.object(layers, "_can_fuse", lambda *arguments: False),
        mock.patch.object(triplet, "_pool_axis", lambda maps, axis: torch.stack((maps.amax(axis), maps.mean(axis)), 1)),
        mock.patch.object(mixture.Mixture, "forward", mix_plainly),
        mock.patch.object(deform, "deform_convolve", deform_plainly),
        mock.patch.object(dpanet, "correlate", correlate_plainly),
        mock.patch.object(srp, "correlate", correlate_plainly),
        mock.patch.object(srp, "_BAND_VALUES", 2**62),
        mock.patch.object(gkmnet, "_BAND_ROWS", 2**30),
    ):
        yield


def build_network(name: str, form: dict[str, Any]) -> Network:
    """The shipped weights where they have this form, else random ones whose every layer moves the result."""
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if path.exists():
        network, card = load_weights(path)
        if card.form == form:
            return network
    torch.manual_seed(1)
    network = NETWORKS[name].build(**form).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                # rows that start at zero would hide what stands before them
                idle = (parameter.flatten(1) == 0).all(dim=1)
                parameter[idle] = 0.1 * torch.randn_like(parameter[idle]) / parameter[0].numel() ** 0.5
    return network


def draw_views(count: int, size: tuple[int, int], batch: int) -> list[Tensor]:
    """Smooth random pictures, (B, 3, H, W) in [0, 1], a little apart."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(batch, 3, size[0] // 16 + 2, size[1] // 16 + 2, generator=generator)
    picture = functional.interpolate(coarse, size=(size[0], size[1] + 8), mode="bicubic").clamp(0, 1)
    return [picture[..., shift : shift + size[1]].contiguous() for shift in (0, 3)[:count]]


def run_network(network: Network, views: list[Tensor], precision: str, *, plain: bool) -> Tensor:
    """One pass over the whole picture; returns float32."""
    device = views[0].device.type
    layout = torch.contiguous_format if plain else torch.channels_last
    inputs = [(view + network.value_offset).contiguous(memory_format=layout) for view in views]
    with torch.inference_mode(), torch.autocast(device, DTYPES[precision], enabled=precision != "fp32"):
        if not plain:
            return network(*inputs).float()
        with in_plain_form():
            return network(*inputs).float()


def time_matmul(precision: str, device: torch.device, rounds: int) -> float:
    """Operations a second of a product of square matrices."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = torch.randn(2, side, side, device=device).to(DTYPES[precision])
    best = float("inf")
    with torch.inference_mode():
        for _ in range(rounds):
            started = time.perf_counter()
            for _ in range(4):
                left @ right
            _synchronise(device)
            best = min(best, (time.perf_counter() - started) / 4)
    return 2 * side**3 / best


def count_operations(network: Network, views: list[Tensor]) -> int:
    """Multiplications and additions of one pass in plain form; products outside of layers are not counted."""
    small = [view[:1, :, :64, :64] if not _is_windowed(network) else view for view in views]
    with FlopCounterMode(display=False) as counter:
        run_network(network, small, "fp32", plain=True)
    pixels = [view[:, 0].numel() for view in (views[0], small[0])]
    return counter.get_total_flops() * pixels[0] // pixels[1]


def _is_windowed(network: Network) -> bool:
    return max(network.min_size) > 64


def measure(form: Form, device: torch.device) -> None:
    """Run a form once and keep its least times and its largest memory."""
    if form.result is None:  # what the form before freed, used again, would not be counted
        return_freed_memory()
    started = _reset_peak(device)
    seconds, cpu_seconds = time.perf_counter(), time.process_time()
    form.result = form.run()
    _synchronise(device)
    form.seconds = min(form.seconds, time.perf_counter() - seconds)
    form.cpu_seconds = min(form.cpu_seconds, time.process_time() - cpu_seconds)
    form.peak_bytes = max(form.peak_bytes, _read_peak(device) - started)


def measure_untuned(name: str, size: tuple[int, int], batch: int, threads: int) -> dict[str, Any]:
    """The plain form's row from a process of its own that leaves allocator and threads as they are found."""
    command = [sys.executable, __file__, "--untuned", "--network", name, "--size", f"{size[1]}x{size[0]}"]
    command += ["--batch", str(batch), "--threads", str(threads)]
    environment = {key: value for key, value in os.environ.items() if key not in {*SETTINGS, "GLIBC_TUNABLES"}}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    row: dict[str, Any] = json.loads(result.stdout)
    return row | {"form": "untuned"}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> int:
    """Begin a new measurement of the peak; returns what is taken now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _read_status("VmRSS")


def _read_peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _read_status("VmHWM")


def _read_status(field: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def compare_forms(
    name: str,
    size: tuple[int, int] | None,
    batch: int,
    precisions: list[str],
    device: torch.device,
    rounds: int,
    plain: bool,
) -> list[dict[str, Any]]:
    """Time the forms of one network in turns; one row for each."""
    form, default = CASES[name]
    network = build_network(name, form).to(device)
    height, width = size or default
    views = [view.to(device) for view in draw_views(network.views, (height, width), batch)]
    forms = [Form("plain", "fp32", lambda: run_network(network, views, "fp32", plain=True))] if plain else []
    forms += [
        Form("fast", precision, lambda precision=precision: run_network(network, views, precision, plain=False))
        for precision in precisions
    ]
    operations = count_operations(network, views)
    matmul = dict.fromkeys((*precisions, "fp32"), 0.0)
    for number in range(rounds):
        for entry in forms:
            # the plain form is long enough to be steady, and takes most of the time
            if entry.name == "fast" or number < max(1, rounds // 2):
                measure(entry, device)
        for precision in matmul:
            matmul[precision] = max(matmul[precision], time_matmul(precision, device, 3))
    reference = forms[0]
    rows = []
    for entry in forms:
        assert entry.result is not None and reference.result is not None
        difference = (entry.result - reference.result).abs()
        rows.append(
            {
                "network": name,
                "form": entry.name,
                "precision": entry.precision,
                "batch": batch,
                "height": height,
                "width": width,
                "tera_operations": operations / 1e12,
                "seconds": entry.seconds,
                "cpu_seconds": entry.cpu_seconds,
                "megapixels_per_second": batch * height * width / 1e6 / entry.seconds,
                "peak_bytes": entry.peak_bytes,
                "ratio": reference.seconds / entry.seconds,
                "cpu_ratio": reference.cpu_seconds / entry.cpu_seconds,
                "share_of_matmul": operations / entry.seconds / matmul[entry.precision],
                "matmul_giga_operations_per_second": matmul[entry.precision] / 1e9,
                "largest_difference": float(difference.max()),
                "psnr_db": float(-10 * torch.log10(difference.square().mean())) if entry is not reference else None,
            }
        )
    return rows


def add_untuned(rows: list[dict[str, Any]], untuned: dict[str, Any]) -> list[dict[str, Any]]:
    """Put the plain form of another process first, and say how much less time than it each takes."""
    ratios = {key: rows[0][unit] / untuned[unit] for key, unit in (("ratio", "seconds"), ("cpu_ratio", "cpu_seconds"))}
    untuned = untuned | ratios
    return [row | {"ratio_to_untuned": untuned["seconds"] / row["seconds"]} for row in (untuned, *rows)]


HEADER = "form               s    cpu s  Mpx/s  peak GB  ratio by cpu untuned of matmul difference"


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print one network's table."""
    first = rows[0]
    shape = f"{first['batch']}x{first['width']}x{first['height']}"
    print(f"\n{first['network']} {shape}, {first['tera_operations']:.2f} TFLOP")
    print(HEADER)
    for row in rows:
        print(
            f"{row['form'] + ' ' + row['precision']:12} {row['seconds']:7.2f} {row['cpu_seconds']:8.2f}"
            f" {row['megapixels_per_second']:6.3f} {row['peak_bytes'] / 1e9:8.2f} {row['ratio']:6.2f}"
            f" {row['cpu_ratio']:6.2f} {row.get('ratio_to_untuned', float('nan')):7.2f}"
            f" {row['share_of_matmul']:9.0%} {row['largest_difference']:.1e}"
        )


def parse_size(text: str) -> tuple[int, int]:
    """Take WIDTHxHEIGHT apart."""
    width, height = text.split("x")
    return int(height), int(width)


def main() -> None:
    """Time the networks that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--size", type=parse_size, help="WIDTHxHEIGHT, multiples of what the network takes")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=list(DTYPES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-plain", action="store_true", help="without the plain form: ratios are to the first row")
    parser.add_argument("--untuned", action="store_true", help="one run of the plain form as found, its row as JSON")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    if arguments.untuned:
        print(json.dumps(compare_forms(arguments.network[0], arguments.size, arguments.batch, [], device, 1, True)[0]))
        return
    tune_allocator()
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {arguments.threads} threads")
    rows: list[dict[str, Any]] = []
    for name in arguments.network:
        found = compare_forms(
            name, arguments.size, arguments.batch, arguments.precision, device, arguments.rounds, not arguments.no_plain
        )
        if device.type == "cpu" and not arguments.no_plain:
            size = arguments.size or CASES[name][1]
            found = add_untuned(found, measure_untuned(name, size, arguments.batch, arguments.threads))
        print_rows(found)
        rows += found
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    if not IS_UNTUNED:
        restart_with_tunables()
    main()
