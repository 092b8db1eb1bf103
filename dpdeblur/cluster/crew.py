"""The workers of a cluster as seen from here: what each has in hand, and what becomes of it when one dies."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from dpdeblur import __version__
from dpdeblur.batch.ledger import MOST_DEATHS, Ledger
from dpdeblur.batch.overlap import Outcome
from dpdeblur.batch.plan import Job
from dpdeblur.cluster.station import Station, Work
from dpdeblur.cluster.travel import find_missing, localise, make_absolute, make_job_absolute
from dpdeblur.errors import DpDeblurError, UsageError, WriteError

#: How long network storage may take to show here what another machine has written.
_VISIBLE_WITHIN_S = 60.0
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


class Crew:
    """The workers, and what they have in hand."""

    def __init__(
        self, ray: Any, jobs: Sequence[Job], work: Work, listener: Listener, count: int, needs: dict[str, float]
    ) -> None:
        """Plan; nobody is hired yet.

        Args:
            ray: Ray, connected to the cluster.
            jobs: The photos; no two share an output.
            work: What to do with them.
            listener: Told how each photo ended.
            count: How many workers there shall be.
            needs: What each of them takes of the cluster, in Ray's terms.
        """
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
        self._actor = ray.remote(Station).options(max_concurrency=2, scheduling_strategy="SPREAD", **needs)
        self._failed_starts = 0
        self._count = count

    def run(self) -> None:
        """Do all the jobs.

        Raises:
            UsageError: The workers do not see the photos, run another version, or the work cannot be done at all.
            DpDeblurError: No worker can be started.
        """
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
        return _Post(actor, actor.introduce.remote(make_absolute(self._jobs[0].capture.paths[0])))

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
                post.doing = post.actor.work.remote([make_job_absolute(self._jobs[number]) for number in chunk])

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
            number = next(one for one in post.unfinished if make_job_absolute(self._jobs[one]) == content.job)
            outcome = localise(content, self._jobs[number])
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
            missing = find_missing(outcome.job)
            while missing is not None and time.monotonic() < end:
                time.sleep(0.5)
                missing = find_missing(outcome.job)
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
