"""Many photos on many machines: a batch whose photos are worked on by the workers of a Ray cluster that is there.

Paths go out, so photos and results lie on storage that all machines see at the same place; small rows come back: how
each photo ended, and what its user has to know. A worker is one actor with one GPU, or with a share of the CPUs where
there is none; it loads each network once and works like a local batch, which `dpdeblur.batch` is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import socket
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from dpdeblur import __version__
from dpdeblur.batch import Batch, Outcome
from dpdeblur.errors import DpDeblurError, UsageError, WriteError
from dpdeblur.ledger import MOST_DEATHS, Ledger
from dpdeblur.outputs import Wanted
from dpdeblur.plan import Job
from dpdeblur.stages import Read, Task
from dpdeblur.worker import Worker

#: How long a worker keeps a question for news open, so that answers come at once without many questions.
_PATIENCE_S = 2.0
#: How long network storage may take to show here what another machine has written.
_VISIBLE_WITHIN_S = 60.0
_CONNECT_WITHIN_S = 10.0
#: How long to wait for the cluster before telling the user what is waited for.
_TELL_AFTER_S = 30.0


class Listener(Protocol):
    """Who is told what happens; the reporter of a command is one.

    Attributes:
        workers: Set to how many photos are worked on at the same time.
    """

    workers: int

    def say(self, line: str) -> None:
        """Print a line for the user."""

    def advance(self, share: float) -> None:
        """Take note of a share of a photo."""

    def report_finished(self, outcome: Outcome) -> None:
        """Take note of how a photo ended."""

    def postpone(self, outcome: Outcome) -> None:
        """Take note of a failure after which the photo is tried again."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What the workers do; travels to them, so it holds nothing that belongs to this process.

    Attributes:
        read: The first stage.
        make_task: Makes the other stages, given whom to tell of progress.
        wanted: What is made.
    """

    read: Read
    make_task: Callable[[Any], Task]
    wanted: Wanted


class _Station:
    """The actor: a local batch on the cluster. `work` and `collect_news` run in threads of their own."""

    def __init__(self, work: Work, folder: Path) -> None:
        with contextlib.suppress(OSError):  # weights may be named from here; what then is missing, names itself
            os.chdir(folder)
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._batch = Batch(
            work.read,
            lambda: work.make_task(self),
            worker=Worker(),
            wanted=work.wanted,
            report=lambda outcome: self._news.put(("report_finished", outcome)),
            postpone=lambda outcome: self._news.put(("postpone", outcome)),
        )

    def introduce(self, photo: Path) -> tuple[str, str, bool]:
        """Return the machine's name, the version here, and whether the photo is to be seen here."""
        return socket.gethostname(), __version__, photo.exists()

    def work(self, jobs: Sequence[Job]) -> DpDeblurError | None:
        """Do some photos; what comes of each is news. Returns why nothing at all can be done, or None."""
        try:
            self._batch.run(jobs)
        except DpDeblurError as error:
            return error
        return None

    def collect_news(self) -> list[tuple[str, Any]]:
        """Return what has happened since the last call; waits a moment for something to happen."""
        news = []
        with contextlib.suppress(queue.Empty):
            news.append(self._news.get(timeout=_PATIENCE_S))
            while True:
                news.append(self._news.get_nowait())
        return news

    def say(self, line: str) -> None:
        """A task tells something."""
        self._news.put(("say", line))

    def advance(self, share: float) -> None:
        """Shares of photos are not worth a message."""


@dataclasses.dataclass
class _Post:
    """One actor as seen from here.

    Attributes:
        actor: Ray's handle.
        doing: Ray's promise of the end of what the actor does, or None where it does nothing.
        news: Ray's promise of news, or None before the actor has introduced itself.
        machine: The machine's name.
        unfinished: The photos in its hands.
    """

    actor: Any
    doing: Any
    news: Any = None
    machine: str = ""
    unfinished: set[int] = dataclasses.field(default_factory=set)


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
        _Crew(ray, jobs, work, listener, count, needs).run()
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


class _Crew:
    """The workers, and what they have in hand."""

    def __init__(
        self, ray: Any, jobs: Sequence[Job], work: Work, listener: Listener, count: int, needs: dict[str, float]
    ) -> None:
        self._ray = ray
        self._jobs = jobs
        self._listener = listener
        self._needs = needs
        self._ledger = Ledger(len(jobs), count)
        self._posts: list[_Post] = []
        self._said: set[tuple[str, str]] = set()
        self._unseen: list[tuple[Outcome, str]] = []
        # the hashes are listed here: what lists them may not travel
        hashes = None if work.wanted.list_weights is None else frozenset(work.wanted.list_weights())
        wanted = dataclasses.replace(work.wanted, list_weights=None if hashes is None else _Constant(hashes))
        self._work = ray.put(dataclasses.replace(work, wanted=wanted))
        self._actor = ray.remote(_Station).options(max_concurrency=2, scheduling_strategy="SPREAD", **needs)
        self._failed_starts = 0
        self._count = count

    def run(self) -> None:
        """Do all the jobs."""
        self._listener.workers = min(self._count, len(self._jobs))
        self._posts = [self._hire() for _ in range(min(self._count, len(self._jobs)))]
        told, start = False, time.monotonic()
        while not self._is_done() and self._posts:
            waiting = [promise for post in self._posts for promise in (post.doing, post.news) if promise is not None]
            ready, _ = self._ray.wait(waiting, num_returns=1, timeout=_TELL_AFTER_S)
            for post in [post for post in self._posts if post.doing in ready or post.news in ready]:
                self._attend(post, ready)
            if not told and not any(post.machine for post in self._posts) and time.monotonic() - start > _TELL_AFTER_S:
                told = True
                needs = ", ".join(f"{amount:g} {name[4:].upper()}" for name, amount in self._needs.items() if amount)
                self._listener.say(f"waiting for the cluster: each worker wants {needs}")
        self._settle_unseen()

    def _hire(self) -> _Post:
        actor = self._actor.remote(self._work, Path.cwd())
        return _Post(actor, actor.introduce.remote(_make_absolute(self._jobs[0].capture.paths[0])))

    def _attend(self, post: _Post, ready: Collection[Any]) -> None:
        """Take in what a worker has to say, and give it more to do."""
        try:
            if post.news in ready:
                self._take_news(post)
            if post.doing in ready:
                result, post.doing = self._ray.get(post.doing), None
                if not post.machine:
                    self._welcome(post, *result)
                elif result is not None:
                    raise result
        except self._ray.exceptions.RayActorError as error:
            self._replace(post, error)
            return
        # what it has done may still be on the way
        if post.doing is None and not post.unfinished:
            chunk = self._ledger.take_chunk()
            post.unfinished.update(chunk)
            if chunk:
                post.doing = post.actor.work.remote([_make_job_absolute(self._jobs[number]) for number in chunk])

    def _welcome(self, post: _Post, machine: str, version: str, sees_photo: bool) -> None:
        photo = self._jobs[0].capture.paths[0]
        if version != __version__:
            cause = f"{machine} has dpdeblur {version}, this machine {__version__}"
            raise UsageError(cause, remedy="install one version on all machines")
        if photo.exists() and not sees_photo:
            remedy = "use storage that all machines see at the same place"
            raise UsageError(f"is not to be seen from {machine}", path=photo, remedy=remedy)
        post.machine = machine
        post.news = post.actor.collect_news.remote()

    def _take_news(self, post: _Post) -> None:
        for kind, content in self._ray.get(post.news):
            if kind == "say":
                if (post.machine, content) not in self._said:
                    self._said.add((post.machine, content))
                    self._listener.say(f"{post.machine}: {content}")
                continue
            number = next(one for one in post.unfinished if _make_job_absolute(self._jobs[one]) == content.job)
            outcome = _localise(content, self._jobs[number])
            if kind == "postpone":
                self._listener.postpone(outcome)
                continue
            post.unfinished.discard(number)
            if all(os.path.lexists(path) for path in outcome.job.outputs) or outcome.status == "failed":
                self._listener.report_finished(outcome)
            else:
                self._unseen.append((outcome, post.machine))
        post.news = post.actor.collect_news.remote()

    def _replace(self, post: _Post, error: Exception) -> None:
        """Let a dead worker's photos be done by others, and put another one in its place."""
        self._posts.remove(post)
        if not post.machine:
            self._failed_starts += 1
        for number in self._ledger.return_chunk(post.unfinished):
            job = self._jobs[number]
            cause = f"the worker that restored it died, {MOST_DEATHS} times"
            failure = DpDeblurError(cause, path=job.capture.paths[0], remedy="restore it alone, without --ray")
            self._listener.report_finished(Outcome(job, "failed", failure))
        if self._is_done():
            return
        if post.machine:
            self._listener.say(f"{post.machine}: a worker died; what it had in hand is done by another")
        if self._failed_starts <= MOST_DEATHS:
            self._posts.append(self._hire())
        elif not self._posts:
            cause = f"no worker of the cluster can be started ({str(error).splitlines()[0]})"
            raise DpDeblurError(cause, remedy="install dpdeblur on all its machines")

    def _is_done(self) -> bool:
        return self._ledger.is_empty and not any(post.unfinished for post in self._posts)

    def _settle_unseen(self) -> None:
        """Report results that were not seen here at once: network storage takes its time."""
        end = time.monotonic() + _VISIBLE_WITHIN_S
        for outcome, machine in self._unseen:
            missing = _find_missing(outcome.job)
            while missing is not None and time.monotonic() < end:
                time.sleep(0.5)
                missing = _find_missing(outcome.job)
            if missing is not None:
                remedy = "choose an --output on storage that all machines see at the same place"
                error = WriteError(f"was written by {machine} and is not to be seen here", path=missing, remedy=remedy)
                outcome = dataclasses.replace(outcome, status="failed", error=error, written=None)
            self._listener.report_finished(outcome)


@dataclasses.dataclass(frozen=True)
class _Constant:
    """A function without arguments that returns always the same."""

    value: frozenset[str]

    def __call__(self) -> frozenset[str]:
        return self.value


def _find_missing(job: Job) -> Path | None:
    """An output that is not to be seen here; looking into its folder makes network storage look again."""
    for path in job.outputs:
        with contextlib.suppress(OSError):
            os.listdir(path.parent)
        if not os.path.lexists(path):
            return path
    return None


def _make_absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _make_job_absolute(job: Job) -> Job:
    """The same job for a machine with another current folder."""
    capture = dataclasses.replace(job.capture, paths=tuple(map(_make_absolute, job.capture.paths)))
    return Job(capture, tuple(map(_make_absolute, job.outputs)))


def _localise(outcome: Outcome, job: Job) -> Outcome:
    """The same outcome with the paths that the user gave."""
    error = outcome.error
    if error is not None and error.path is not None:
        given = {_make_absolute(path): path for path in (*job.capture.paths, *job.outputs)}
        error = error.with_path(given.get(error.path, error.path))
    return dataclasses.replace(outcome, job=job, error=error)
