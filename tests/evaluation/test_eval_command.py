"""`dpdeblur eval`, `info --plot` and `weights plot`, called as a shell would."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_runs import Run, call
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from small_sets import draw_scene, write_codes, write_dpdd, write_pixel4, write_twofold
from tiny_networks import ADDED

LOGS = Path(__file__).parents[2] / "weights"


def evaluate(data: Path, layout: str, *arguments: str | Path) -> Run:
    return call("eval", data, "--layout", layout, "--device", "cpu", *arguments)


def read_rows(text: str) -> dict[tuple[str, ...], list[str]]:
    """The lines of the printed table by their first words, up to the number of photos."""
    rows = {}
    for line in text.splitlines():
        cells = line.split()
        if cells and cells[-1] == "measured":
            place = next(index for index, cell in enumerate(cells) if cell.isdecimal())
            rows[tuple(cells[:place])] = cells[place:]
    return rows


def test_results_of_another_program_get_the_scores_that_scikit_image_gives_them(tmp_path: Path) -> None:
    drawn = write_dpdd(tmp_path / "set", {"4": "3", "11": "12"})
    scores = []
    for seed, (name, (sharp, _)) in enumerate(drawn.items()):
        result = draw_scene(seed)[1] // 2 + sharp // 2
        write_codes(tmp_path / "theirs" / f"{name}_restored.png", result)
        scores.append(
            (
                peak_signal_noise_ratio(sharp, result, data_range=65535),
                structural_similarity(sharp / 65535, result / 65535, data_range=1, channel_axis=-1),
                np.abs(sharp / 65535 - result / 65535).mean(),
            )
        )
    report = tmp_path / "out.json"
    run = evaluate(tmp_path / "set", "dpdd", "--results", tmp_path / "theirs", "--json", report)
    assert run.code == 0, run.stderr
    psnr, ssim, mae = np.mean(scores, axis=0)
    row = read_rows(run.stdout)["theirs",]
    assert row[:2] == ["2", f"{psnr:.2f}"]
    assert row[3:6] == [f"{ssim:.3f}", f"{mae:.4f}", f"{10 ** (-psnr / 20):.4f}"]
    measured = json.loads(report.read_text())["measured"][1]
    assert (measured["psnr"], measured["ssim"], measured["mae"]) == pytest.approx((psnr, ssim, mae), abs=1e-6)


def test_stdout_carries_the_table_and_stderr_the_rest(tmp_path: Path, brighter: Path) -> None:
    write_dpdd(tmp_path, {"a": "b"})
    run = evaluate(tmp_path, "dpdd", "--weights", brighter)
    assert run.code == 0
    assert run.stdout.startswith("dpdd, 1 photo at 16 bits: reference as it is, SSIM in uniform 7x7 windows\n\nmethod")
    assert "K3DN (Large)" in run.stdout and "published: K3DN, table 1" in run.stdout
    assert "the n-th was taken for the n-th" in run.stderr
    assert "gkmnet (gkmnet_brighter.safetensors) on cpu in " in run.stderr
    assert "LPIPS is left out" in run.stderr


def test_published_rows_are_as_many_as_asked_for(tmp_path: Path, gkmnet: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"})
    counts = []
    for choice in ("none", "networks", "all"):
        run = evaluate(tmp_path, "dpdd", "--weights", gkmnet, "--published", choice)
        counts.append(run.stdout.count("published:"))
    assert counts == [0, 9, 44]


def test_networks_are_scored_side_by_side(tmp_path: Path, gkmnet: Path, brighter: Path) -> None:
    sharp, blurred = write_dpdd(tmp_path, {"a": "a"})["a"]
    run = evaluate(tmp_path, "dpdd", "--weights", gkmnet, "--weights", brighter)
    rows = read_rows(run.stdout)
    before = peak_signal_noise_ratio(sharp, blurred, data_range=65535)
    after = peak_signal_noise_ratio(sharp / 65535, np.clip(blurred / 65535 + ADDED, 0, 1), data_range=1)
    assert rows["input",][1] == f"{before:.2f}"
    assert rows["gkmnet_same",][1:3] == [f"{before:.2f}", "+0.00"]
    assert float(rows["gkmnet_brighter",][1]) == pytest.approx(after, abs=0.011)
    assert float(rows["gkmnet_brighter",][2]) == pytest.approx(after - before, abs=0.011)


def test_groups_have_rows_of_their_own(tmp_path: Path, gkmnet: Path) -> None:
    write_twofold(tmp_path, "target", "source", ["indoor_1", "outdoor_1", "outdoor_2"])
    rows = read_rows(evaluate(tmp_path, "realdof", "--weights", gkmnet).stdout)
    assert {key[1:]: row[0] for key, row in rows.items()} == {("all",): "3", ("indoor",): "1", ("outdoor",): "2"}


def test_every_layout_is_scored(tmp_path: Path, gkmnet: Path) -> None:
    write_twofold(tmp_path / "pairs", "sharp", "blurred", ["a"])
    write_twofold(tmp_path / "realdof", "target", "source", ["a"])
    write_twofold(tmp_path / "sdd", "gt", "blur", ["a"])
    write_dpdd(tmp_path / "dpdd", {"a": "a"})
    write_pixel4(tmp_path / "pixel4", "002")
    for layout in ("pairs", "dpdd", "realdof", "sdd", "pixel4"):
        run = evaluate(tmp_path / layout, layout, "--weights", gkmnet)
        assert run.code == 0, run.stderr
        assert run.stdout.startswith(f"{layout}, 1 photo at 16 bits: ")
        assert ("compared" in run.stdout) == (layout == "sdd")  # the flow's share


def test_any_layout_can_be_scored_against_a_deformed_reference(tmp_path: Path, gkmnet: Path) -> None:
    write_twofold(tmp_path, "target", "source", ["a"])
    run = evaluate(tmp_path, "realdof", "--weights", gkmnet, "--reference", "deformed", "--published", "all")
    assert "reference deformed onto each result" in run.stdout
    assert "25.39" in run.stdout  # IFAN against the deformed reference, not its 24.71 against the given one
    assert "24.71" not in run.stdout


def test_files_are_written_in_every_form(tmp_path: Path, gkmnet: Path, brighter: Path) -> None:
    write_dpdd(tmp_path / "set", {"a": "a", "b": "b"})
    out = tmp_path / "out"
    out.mkdir()
    forms = {"csv": "s.csv", "json": "s.json", "markdown": "s.md", "sheet": "s.jpg", "plot": "s.png"}
    options = [part for name, file in forms.items() for part in (f"--{name}", out / file)]
    run = evaluate(tmp_path / "set", "dpdd", "--weights", gkmnet, "--weights", brighter, *options)
    assert run.code == 0, run.stderr
    assert sorted(path.name for path in out.iterdir()) == sorted(forms.values())
    with (out / "s.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 2 * 3
    assert json.loads((out / "s.json").read_text())["layout"] == "dpdd"
    assert (out / "s.md").read_text().splitlines()[0] == run.stdout.splitlines()[0]
    sheet, plot = cv2.imread(str(out / "s.jpg")), cv2.imread(str(out / "s.png"))
    assert sheet.shape[1] >= 4 * 360
    assert plot.shape[1] == 1640


def test_a_pair_that_cannot_be_scored_costs_one_line(tmp_path: Path, gkmnet: Path) -> None:
    write_dpdd(tmp_path, {"a": "a", "b": "b", "c": "c"})
    (tmp_path / "test_c/target/a.png").write_bytes(b"no picture")
    (tmp_path / "test_l/source/c_L.png").unlink()
    report = tmp_path / "report.json"
    run = evaluate(tmp_path, "dpdd", "--weights", gkmnet, "--json", report)
    assert run.code == 1
    assert read_rows(run.stdout)["gkmnet_same",][0] == "1"
    lines = [line for line in run.stderr.splitlines() if str(tmp_path) in line]
    assert len(lines) == 2
    assert json.loads(report.read_text())["failures"] == lines


def test_where_every_pair_fails_there_is_no_table(tmp_path: Path, gkmnet: Path) -> None:
    write_dpdd(tmp_path, {"a": "a"})
    (tmp_path / "test_c/target/a.png").write_bytes(b"no picture")
    run = evaluate(tmp_path, "dpdd", "--weights", gkmnet, "--csv", tmp_path / "s.csv")
    assert (run.code, run.stdout) == (1, "")
    assert not (tmp_path / "s.csv").exists()


def test_a_limit_takes_the_first_photos(tmp_path: Path, gkmnet: Path) -> None:
    write_dpdd(tmp_path, {"2": "2", "10": "10", "3": "3"})
    run = evaluate(tmp_path, "dpdd", "--weights", gkmnet, "--limit", "2", "--csv", tmp_path / "s.csv")
    assert run.code == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        assert {row["photo"] for row in csv.DictReader(file)} == {"2", "3"}


def test_pixels_marked_as_in_focus_are_the_ones_that_are_watched(tmp_path: Path, brighter: Path) -> None:
    write_dpdd(tmp_path / "set", {"a": "a", "b": "b"})
    marks = np.zeros((64, 96, 1), np.uint16)
    marks[:16] = 65535
    write_codes(tmp_path / "marks" / "a.png", marks)
    run = evaluate(tmp_path / "set", "dpdd", "--weights", brighter, "--focus-masks", tmp_path / "marks")
    assert run.code == 1  # photo b has no marks
    assert "marks: holds no result for b" in run.stderr
    assert f"Share of the pixels in focus (25.0% of all; as marked in {tmp_path / 'marks'})" in run.stdout
    # every value is raised by 0.0625
    assert run.stdout.splitlines()[-1].split() == ["gkmnet_brighter", "0.0%", "0.0%", "0.0%", "0.0%", "0.0%"]


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--sheet", "sheet.pdf"), "is no name for a picture"),
        (("--csv", "missing/s.csv"), "its folder does not exist"),
        (("--plot", "missing/s.png"), "its folder does not exist"),
        (("--results", "missing"), "is no folder of pictures"),
        (("--model", "k2dn"), "unknown model"),
        (("--weights", "missing.safetensors"), "missing.safetensors"),
        (("--layout", "dpdd"), "holds no data set of the layout dpdd"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], cause: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_twofold(tmp_path, "target", "source", ["a"])
    run = evaluate(tmp_path, "realdof", *arguments)
    assert (run.code, run.stdout) == (2, "")
    assert cause in run.stderr and len(run.stderr.splitlines()) == 1


def test_two_view_networks_are_refused_for_sets_without_views(tmp_path: Path, shipped: Path) -> None:
    write_twofold(tmp_path, "target", "source", ["a"])
    run = evaluate(tmp_path, "realdof", "--model", "k3dn")
    assert run.code == 2
    assert "k3dn needs left and right views" in run.stderr


def test_an_empty_set_is_nothing_to_work_on(tmp_path: Path, gkmnet: Path) -> None:
    for folder in ("source", "target"):
        (tmp_path / folder).mkdir()
    run = evaluate(tmp_path, "realdof", "--weights", gkmnet)
    assert (run.code, run.stdout) == (3, "")
    assert "no photos found" in run.stderr


def test_photos_without_any_reference_fail_one_by_one(tmp_path: Path, gkmnet: Path) -> None:
    write_twofold(tmp_path, "target", "source", ["a", "b"])
    for path in (tmp_path / "target").iterdir():
        path.unlink()
    run = evaluate(tmp_path, "realdof", "--weights", gkmnet)
    assert run.code == 1
    assert run.stderr.count("there is no sharp of it") == 2


def test_an_interrupted_evaluation_writes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gkmnet: Path
) -> None:
    write_twofold(tmp_path, "target", "source", ["a"])

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dpdeblur.evaluation.runs.score_scenes", interrupt)
    run = evaluate(tmp_path, "realdof", "--weights", gkmnet, "--csv", tmp_path / "s.csv")
    assert (run.code, run.stdout) == (130, "")
    assert run.stderr.endswith("interrupted; nothing was written\n")
    assert not (tmp_path / "s.csv").exists()


def test_info_draws_what_it_describes(tmp_path: Path, png_pair: tuple[Path, Path], jpeg_photo: Path) -> None:
    plot = tmp_path / "plot.png"
    run = call("info", *png_pair, jpeg_photo, "--plot", plot)
    assert run.code == 0, run.stderr
    plain = call("info", *png_pair, jpeg_photo)
    assert run.stdout == plain.stdout
    assert cv2.imread(str(plot)).shape[0] == 40 + 2 * 518


def test_a_photo_that_cannot_be_drawn_costs_one_line(tmp_path: Path, jpeg_photo: Path, truncated_cr2: Path) -> None:
    plot = tmp_path / "plot.png"
    run = call("info", jpeg_photo, truncated_cr2, "--plot", plot)
    assert run.code == 1
    assert sum("truncated.cr2" in line for line in run.stderr.splitlines()) == 1
    assert cv2.imread(str(plot)).shape[0] == 40 + 518


def test_a_training_is_drawn_from_its_log(tmp_path: Path) -> None:
    for log in LOGS.glob("*_log.csv"):
        assert call("weights", "plot", log, "-o", tmp_path / f"{log.stem}.png").code == 0
        assert cv2.imread(str(tmp_path / f"{log.stem}.png")).shape[1] == 1640
    run = call("weights", "plot", tmp_path / "missing.csv", "-o", tmp_path / "a.png")
    assert run.code == 2
    assert "missing.csv: cannot be read" in run.stderr
