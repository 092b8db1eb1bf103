"""One worker of a cluster: an actor that does photos as a local batch does, and tells what comes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dpdeblur import __version__
from dpdeblur.batch.outputs import Wanted
from dpdeblur.batch.overlap import Batch
from dpdeblur.batch.plan import Job
from dpdeblur.batch.stages import Read, Task
from dpdeblur.batch.worker import Worker
from dpdeblur.errors import DpDeblurError

#: How long a worker keeps a question for news open, so that answers come at once without many questions.
_PATIENCE_S = 2.0


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


class Station:
    """The actor: a local batch on the cluster. `work` and `collect_news` run in threads of their own."""

    def __init__(self, work: Work, folder: Path) -> None:
        """Begin in the folder from which the user's relative paths count."""
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
        return platform.node(), __version__, photo.exists()

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
