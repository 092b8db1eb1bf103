"""What a run says while it goes: a bar, a log in CSV and, where asked for, TensorBoard's."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpdeblur.errors import UsageError


class Journal:
    """The log of a run in `folder`, and its bar on the terminal; every method does nothing in a silent journal."""

    def __init__(
        self,
        folder: Path,
        step: int,
        *,
        name: str,
        start: float,
        total: float,
        unit: str,
        tensorboard: bool,
        silent: bool,
    ) -> None:
        """Open the log at a step: rows that a killed run wrote after its last saved state are taken back.

        Args:
            folder: Of the run.
            step: Steps taken before.
            name: In front of the bar.
            start: How much of the budget was used before, which says nothing about the time that is left.
            total: The budget.
            unit: Of both.
            tensorboard: Whether to write TensorBoard's log too.
            silent: Whether to do nothing at all, in all processes but the first.

        Raises:
            UsageError: TensorBoard is wanted but not installed.
        """
        self.path = folder / "log.csv"
        self.silent = silent
        self.writer: Any = None
        self.last_step = -1
        if silent:
            return
        self._take_back(step)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise UsageError("TensorBoard is not installed", remedy="pip install tensorboard") from error
            self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.bar = tqdm(initial=round(start, 2), total=round(total, 1), unit=unit, desc=name, disable=None)

    def _read_rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _read_columns(self) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])

    def _rewrite(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="nan")
            writer.writeheader()
            writer.writerows(rows)

    def _take_back(self, step: int) -> None:
        rows = self._read_rows()
        # a row that a killed process did not finish has no value in its last column
        kept = [row for row in rows if None not in row.values() and float(row["step"]) <= step]
        if len(kept) < len(rows):
            self._rewrite(self._read_columns(), kept)
        if kept:
            self.last_step = int(float(kept[-1]["step"]))

    def write(self, row: dict[str, float]) -> None:
        """Append a row, which must hold "step"; a figure that is new gets a column, empty in the rows before."""
        if self.silent:
            return
        columns = list(dict.fromkeys([*self._read_columns(), *row]))
        if columns != self._read_columns():
            self._rewrite(columns, self._read_rows())
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(f"{row.get(name, math.nan):.6g}" for name in columns)
        tqdm.write(json.dumps({name: round(value, 6) for name, value in row.items()}))
        self.last_step = int(row["step"])
        if self.writer is not None:
            for name, value in row.items():
                if not math.isnan(value):
                    self.writer.add_scalar(name, value, self.last_step)

    def show(self, done: float, step: int, *, loss: float, psnr: float, rate: float) -> None:
        """Move the bar, which adds the time left itself."""
        if self.silent:
            return
        self.bar.n = round(min(done, self.bar.total), 2)
        self.bar.set_postfix(step=step, loss=f"{loss:.4f}", psnr=f"{psnr:.2f}", steps_s=f"{rate:.1f}", refresh=True)

    def close(self) -> None:
        """End bar and logs."""
        if self.silent:
            return
        self.bar.close()
        if self.writer is not None:
            self.writer.close()
