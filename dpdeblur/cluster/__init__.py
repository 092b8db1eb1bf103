"""Many photos on many machines: a batch whose photos are worked on by the workers of a Ray cluster that is there.

Paths go out, so photos and results lie on storage that all machines see at the same place; small rows come back: how
each photo ended, and what its user has to know. A worker is one actor (`station`) with one GPU, or with a share of the
CPUs where there is none; it loads each network once and works like a local batch (`dpdeblur.batch.overlap`). `crew` is
all of them as seen from here.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence
from typing import Any

from dpdeblur.batch.plan import Job
from dpdeblur.cluster.crew import Crew, Listener
from dpdeblur.cluster.station import Work
from dpdeblur.errors import UsageError

__all__ = ["Cluster", "Listener", "Work", "choose_cluster", "run_on_cluster"]

_CONNECT_WITHIN_S = 10.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        address: `auto`, HOST:PORT or ray://HOST:PORT.
        workers: How many workers, or None for one a GPU, or one a machine where there are none.
        uses_gpus: Whether each worker takes a GPU, where the cluster has any.
    """

    address: str
    workers: int | None = None
    uses_gpus: bool = True


def choose_cluster(address: str | None, workers: int | None, device: str) -> Cluster | None:
    """Put the options `--ray`, `--ray-workers` and `--device` together.

    Returns:
        The cluster, or None where none is asked for.

    Raises:
        UsageError: They do not fit together.
    """
    if address is None:
        if workers is not None:
            raise UsageError("--ray-workers is about --ray, which is not there")
        return None
    if device not in ("auto", "cpu", "cuda"):
        remedy = "use --device auto, cpu or cuda"
        raise UsageError(f"with --ray each worker has its own GPU, and --device {device} names another", remedy=remedy)
    return Cluster(address, workers, uses_gpus=device != "cpu")


def run_on_cluster(jobs: Sequence[Job], work: Work, listener: Listener, cluster: Cluster) -> None:
    """Take every job through the stages, on the workers of a Ray cluster. Outcomes come in the order of their ends.

    Args:
        jobs: The photos; no two share an output.
        work: What to do with them.
        listener: Told how each photo ended.
        cluster: Where. None is started.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, its workers do not see the photos or run another
            version, or the work cannot be done on any photo.
        DpDeblurError: No worker can be started.
        KeyboardInterrupt: The user wants to stop. What the workers have in hand is dropped.
    """
    ray = _connect(cluster.address)
    try:
        count, needs = _plan_workers(ray, cluster)
        Crew(ray, jobs, work, listener, count, needs).run()
    finally:
        ray.shutdown()  # lets go of the actors, not of the cluster


def _connect(address: str) -> Any:
    """Connect to a cluster that is there.

    Raises:
        UsageError: It cannot be done.
    """
    # what else Ray's own processes have to tell would come to standard output; read when Ray is imported
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs Ray, which is not installed", remedy="pip install 'dpdeblur[ray]'") from error
    if address == "local":
        raise UsageError("--ray local would start a cluster", remedy="start one by `ray start`, then use --ray auto")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=_CONNECT_WITHIN_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        remedy = "check the address, and that this Python has the cluster's version of Ray"
        cause = f"no Ray cluster answers at {address} ({str(error).partition(chr(10))[0]})"
        raise UsageError(cause, remedy=remedy) from error
    return ray


def _plan_workers(ray: Any, cluster: Cluster) -> tuple[int, dict[str, float]]:
    """Return how many workers there shall be, and what each of them takes of the cluster.

    Raises:
        UsageError: The cluster has nothing to work with.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not machines:
        raise UsageError("the cluster has no machine with a CPU to offer", remedy="start some by `ray start`")
    gpus = int(sum(resources.get("GPU", 0) for resources in machines))
    if cluster.uses_gpus and gpus:
        return cluster.workers or gpus, {"num_gpus": 1, "num_cpus": 1}
    count = cluster.workers or len(machines)
    share = min(resources["CPU"] for resources in machines) // -(-count // len(machines))
    return count, {"num_gpus": 0, "num_cpus": max(1, share)}
