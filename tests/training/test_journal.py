"""What a run writes and shows."""

import csv
import io
from pathlib import Path

import pytest

from dpdeblur.training import journal
from dpdeblur.training.journal import Journal


def _open(folder: Path, step: int = 0) -> Journal:
    return Journal(
        folder, step, name="k3dn by k3dn", start=step, total=100, unit="step", tensorboard=False, silent=False
    )


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_figure_that_comes_later_gets_a_column_of_its_own(tmp_path: Path):
    log = _open(tmp_path)
    log.write({"step": 0, "loss": float("nan"), "pixel@1": 0.5})
    log.write({"step": 1, "loss": 0.25, "kept": 0.75, "pixel@1": 1.5})
    log.close()
    assert [row["kept"] for row in _rows(tmp_path)] == ["nan", "0.75"]
    assert [row["pixel@1"] for row in _rows(tmp_path)] == ["0.5", "1.5"]


def test_an_unfinished_row_and_later_ones_are_taken_back(tmp_path: Path):
    log = _open(tmp_path)
    for step in range(3):
        log.write({"step": step, "loss": step / 10})
    with log.path.open("a") as file:
        file.write("3")
    assert _open(tmp_path, 1).last_step == 1
    assert [row["step"] for row in _rows(tmp_path)] == ["0", "1"]


def test_a_silent_journal_writes_nothing(tmp_path: Path):
    log = Journal(tmp_path, 0, name="", start=0, total=1, unit="step", tensorboard=True, silent=True)
    log.write({"step": 0})
    log.show(1, 1, loss=1, psnr=1, rate=1)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_the_bar_shows_loss_psnr_rate_and_the_time_left_since_this_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    bar = journal.tqdm

    def build(**words):
        made = bar(**words, file=screen, mininterval=0, ncols=140)
        made.start_t -= 60
        return made

    monkeypatch.setattr(journal, "tqdm", build)
    log = _open(tmp_path, 40)
    log.show(70, 70, loss=0.0321, psnr=28.5, rate=1.5)
    shown = screen.getvalue()
    assert "k3dn by k3dn" in shown and "70" in shown
    assert "loss=0.0321" in shown and "psnr=28.50" in shown and "steps_s=1.5" in shown
    # this process took 30 steps in a minute, and the 30 that are left take another; the 40 before do not count
    assert "01:00<01:00" in shown.replace("01:01", "01:00")
    log.close()
