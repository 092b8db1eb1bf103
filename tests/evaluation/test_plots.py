"""Plots, by the colours at the places where values must lie, and by what they refuse."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from dpdeblur.errors import ReadError, UsageError
from dpdeblur.evaluation.axes import Axes, Range, choose_ticks, format_tick, span
from dpdeblur.evaluation.canvas import GRAY, INK, SERIES, SUFFIXES, WHITE, Canvas, Colour, check_text, fit_image
from dpdeblur.evaluation.metrics import Scores
from dpdeblur.evaluation.photo_plot import draw_photos, measure_photo
from dpdeblur.evaluation.plots import draw_scores, draw_training, read_log
from dpdeblur.evaluation.scoring import INPUT
from dpdeblur.evaluation.summary import PhotoScores
from dpdeblur.photo import Photo


def find_colour(canvas: Canvas, colour: Colour) -> npt.NDArray[np.bool_]:
    """Where a canvas has exactly this colour."""
    return np.asarray((canvas.pixels == np.array(colour)).all(axis=2))


def find_places(canvas: Canvas, colour: Colour, smallest_px: int = 40) -> list[tuple[float, float]]:
    """The middles (x, y) of the spots of a colour, from the top."""
    _, _, stats, middles = cv2.connectedComponentsWithStats(find_colour(canvas, colour).astype(np.uint8))
    large = [tuple(middle) for middle, stat in zip(middles, stats, strict=True) if stat[4] >= smallest_px]
    return sorted(large[1:], key=lambda place: place[1])


def list_scores(count: int) -> list[PhotoScores]:
    """Photos of 20 dB and more, each gaining 1 dB."""
    found = []
    for number in range(count):
        for method, gain in ((INPUT, 0.0), ("net", 1.0)):
            psnr = 20 + 0.1 * number + gain
            found.append(PhotoScores(f"photo{number}", "", method, Scores(psnr, 0.8, 0.03, 0.1), 1.0))
    return found


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (23.1, 27.4, [24, 25, 26, 27]), (-3, 3, [-3, -2, -1, 0, 1, 2, 3])],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert choose_ticks(Range(low, high)) == pytest.approx(expected)


def test_ticks_of_a_logarithmic_axis_are_round_too() -> None:
    assert choose_ticks(Range(3e-6, 4e-4, is_log=True)) == pytest.approx([5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4])
    assert choose_ticks(Range(1e-6, 1.0, is_log=True)) == pytest.approx([10.0**n for n in range(-6, 1)])
    assert choose_ticks(Range(0.09, 0.125, is_log=True), 5) == pytest.approx([0.09, 0.1, 0.11, 0.12])


def test_ticks_are_written_with_as_many_digits_as_tell_them_apart() -> None:
    assert [format_tick(value, [0.9, 1.0, 1.1]) for value in (0.9, 1.0, 1.1)] == ["0.9", "1.0", "1.1"]
    assert [format_tick(value, [-50, 0, 50]) for value in (-50, 0, 50)] == ["-50", "0", "50"]
    assert [format_tick(value, [5e-6, 1e-5, 1e-3]) for value in (5e-6, 1e-5, 1e-3)] == ["5e-6", "1e-5", "0.001"]


def test_a_range_goes_around_all_finite_values() -> None:
    assert span([1, math.nan, 3, math.inf], margin=0.1) == Range(0.8, 3.2)
    assert span([5.0]).low < 5 < span([5.0]).high
    assert span([2, 4], margin=0) == Range(2, 4)
    logarithmic = span([1e-4, 1e-2, -1], is_log=True)
    assert 0 < logarithmic.low < 1e-4 and 1e-2 < logarithmic.high


def test_values_are_placed_on_their_axes() -> None:
    axes = Axes(Canvas(10, 10), 100, 50, 200, 80, Range(0, 10), Range(0.01, 1, is_log=True))
    assert axes.place(5, 0.1) == pytest.approx((200, 90))
    assert axes.place(10, 1) == pytest.approx((300, 50))


def test_a_curve_breaks_where_a_value_is_missing() -> None:
    canvas = Canvas(300, 100)
    axes = Axes(canvas, 0, 0, 300, 100, Range(0, 3), Range(0, 2))
    axes.draw_curve([0, 1, 2, 3], [1, 1, math.nan, 1], INK)
    row = find_colour(canvas, INK)[50]
    assert row[20:90].all()
    assert not row[120:280].any()


@pytest.mark.parametrize(("align", "share"), [("left", 0.0), ("centre", 0.5), ("right", 1.0)])
def test_text_begins_and_ends_where_it_is_told_to(align: Literal["left", "centre", "right"], share: float) -> None:
    canvas = Canvas(400, 60)
    width = canvas.write(200, 40, "PSNR 24.18", align=align)
    assert width == canvas.measure("PSNR 24.18")
    columns = np.flatnonzero((canvas.pixels < 128).any(axis=(0, 2)))
    assert (columns[0], columns[-1]) == pytest.approx((200 - share * width, 200 + (1 - share) * width), abs=5)


def test_long_names_lose_their_middle() -> None:
    canvas = Canvas(10, 10)
    assert canvas.shorten("short", 300) == "short"
    cut = canvas.shorten("a_very_long_name_of_a_photo.cr2", 150)
    assert canvas.measure(cut) <= 150
    assert cut.startswith("a_ve") and cut.endswith(".cr2") and "…" in cut


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_canvas_is_written_in_its_colours(tmp_path: Path, suffix: str) -> None:
    canvas = Canvas(32, 16)
    canvas.draw_box(0, 0, 16, 16, (200, 30, 60))
    canvas.save(tmp_path / f"a{suffix}")
    read = cv2.imread(str(tmp_path / f"a{suffix}"))[..., ::-1]
    assert read.shape == (16, 32, 3)
    np.testing.assert_allclose(read[8, 4], (200, 30, 60), atol=3)
    np.testing.assert_allclose(read[8, 28], WHITE, atol=3)


def test_a_name_that_says_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png"):
        Canvas(4, 4).save(tmp_path / "a.pdf")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_drawing_replaces_a_drawing_and_never_a_photo(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for shade in (50, 200):
        canvas = Canvas(64, 48)
        canvas.pixels[:] = shade
        canvas.save(path)
    assert abs(int(cv2.imread(str(path))[20, 30, 1]) - 200) <= 2
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    photo = path.read_bytes()
    with pytest.raises(UsageError, match="is there already, and no drawing of dpdeblur"):
        canvas.save(path)
    assert path.read_bytes() == photo


def test_a_text_never_takes_a_photos_name(tmp_path: Path) -> None:
    check_text(tmp_path / "scores.csv")
    for name in ("a.JPG", "a.cr2", "a.tif"):
        with pytest.raises(UsageError, match="is a photo's name"):
            check_text(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_fitted_without_bending_them() -> None:
    assert fit_image(np.zeros((100, 400, 3), np.uint8), 200, 200).shape == (50, 200, 3)
    assert fit_image(np.zeros((10, 5, 3), np.uint8), 200, 200).shape == (200, 100, 3)


def test_few_photos_have_a_line_each_with_what_they_gained() -> None:
    canvas = draw_scores(list_scores(5), ["net"])
    dots = find_places(canvas, SERIES[0])[1:]  # the first is the legend's
    assert len(dots) == 5
    # lines from the worst photo down, each 0.1 dB farther to the right
    steps = np.diff(np.array(dots), axis=0)
    np.testing.assert_allclose(steps[:, 1], 40, atol=1)
    np.testing.assert_allclose(steps[:, 0], steps[0, 0], atol=1.5)
    # every ring lies a decibel, ten such steps, to the left of its dot
    rings = find_colour(canvas, GRAY)
    for x, y in dots:
        left = round(x - 10 * steps[0, 0])
        assert rings[round(y), left - 14 : left + 15].any()


def test_many_photos_are_dots_over_the_curve_of_what_they_were() -> None:
    canvas = draw_scores(list_scores(61), ["net"])
    assert canvas.height == 860
    dots = find_places(canvas, SERIES[0])[1:]
    assert len(dots) == 61
    places = np.array(sorted(dots))
    assert (np.diff(places[:, 1]) < 0).all()  # as the PSNR rises, so do they


def test_a_method_that_failed_on_a_photo_leaves_its_place_empty() -> None:
    scores = [one for one in list_scores(4) if (one.photo, one.method) != ("photo2", "net")]
    assert len(find_places(draw_scores(scores, ["net"]), SERIES[0])[1:]) == 3


def write_log(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_log_is_read_by_columns(tmp_path: Path) -> None:
    columns = read_log(write_log(tmp_path / "log.csv", "step,minutes,loss,pixel@1\n1,0.5,0.2,\n20,1,nan,0.4\n"))
    assert list(columns) == ["step", "minutes", "loss", "pixel@1"]
    assert columns["minutes"] == [0.5, 1]
    assert math.isnan(columns["loss"][1]) and math.isnan(columns["pixel@1"][0])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no log"),
        ("step,loss\n", "no log"),
        ("step\n1\n", "no log"),
        ("step,loss\n1,0.2\n2\n", "line 3 has 1 cells"),
        ("step,loss\n1,low\n", "line 2 holds 'low'"),
    ],
)
def test_what_is_no_log_is_refused_with_the_line(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(ReadError, match=cause):
        read_log(write_log(tmp_path / "log.csv", text))


def test_a_log_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "log.csv"):
        with pytest.raises(ReadError, match="cannot be read"):
            read_log(tmp_path / name)


def test_a_training_has_a_panel_for_each_kind_of_number() -> None:
    steps = [1.0, 2, 3]
    few = draw_training({"step": steps, "loss": [0.3, 0.2, 0.1]}, "log")
    scored = {"step": steps, "loss": [0.3, 0.2, 0.1], "psnr_in": [20.0] * 3, "psnr_out": [20.0, 21, 22], "odd": steps}
    many = draw_training(scored, "log")
    assert many.height - few.height == 2 * 380  # PSNR, where two columns share a panel, and the odd one
    assert find_colour(many, SERIES[1]).any()
    assert not find_colour(few, SERIES[1]).any()


def test_the_repositorys_own_logs_can_be_drawn() -> None:
    for log in sorted((Path(__file__).parents[2] / "weights").glob("*_log.csv")):
        assert draw_training(read_log(log), log.name).height > 500


def make_photo(disparity_px: int, *, dual: bool = True) -> Photo:
    """A soft picture whose left view lies `disparity_px` farther to the right than its right one."""
    noise = np.random.default_rng(2).random((240, 320))
    scene = cv2.GaussianBlur(noise, (0, 0), 4)
    scene = (0.1 + 0.8 * (scene - scene.min()) / (scene.max() - scene.min())).astype(np.float32)[..., None]
    left, right = (np.roll(scene, disparity_px * side, axis=1) for side in (1, 0))
    paths = (Path("a_left.png"), Path("a_right.png"))
    return Photo(paths, "pair", (left + right) / 2, left, right) if dual else Photo(paths[:1], "image", scene)


@pytest.mark.parametrize(("disparity_px", "channel"), [(2, 0), (-2, 2)])
def test_the_disparity_is_orange_or_blue_by_its_sign(disparity_px: int, channel: int) -> None:
    plot = measure_photo("a", make_photo(disparity_px))
    assert plot.disparity is not None
    assert plot.largest_px == pytest.approx(2, abs=0.4)
    mean = plot.disparity[40:-40, 40:-40].reshape(-1, 3).mean(axis=0)
    assert mean[channel] > mean[2 - channel] + 40


def test_the_histogram_of_blur_finds_the_radius_that_it_was_blurred_with() -> None:
    noise = np.random.default_rng(1).random((1200, 1600)).astype(np.float32)
    # a photograph's contrast: alike in every octave
    scene = sum(cv2.GaussianBlur(noise, (0, 0), 2.0**n) * 2.0**n for n in range(6))
    scene = 0.2 + 0.6 * (scene - scene.min()) / (scene.max() - scene.min())
    disc = np.hypot(*np.mgrid[-6:7, -6:7]) <= 6
    blurred = cv2.filter2D(scene, -1, disc / disc.sum()).astype(np.float32)[..., None]
    plot = measure_photo("a", Photo((Path("a.png"),), "image", blurred))
    assert plot.blur_shares.sum() == pytest.approx(1)
    # bins of 3, 4, 6, 8 and 12 pixels: all of it lies around 6
    assert plot.blur_shares[4:8].sum() > 0.9
    assert plot.radius_px == pytest.approx(6, rel=0.35)


def test_photos_stand_below_each_other_with_three_panels() -> None:
    dual, single = measure_photo("a", make_photo(2)), measure_photo("b", make_photo(0, dual=False))
    assert single.disparity is None
    canvas = draw_photos([dual, single])
    assert canvas.height == 40 + 2 * 518
    tall = canvas.pixels[: 40 + 518]
    assert (tall[100:300, 44:564] < 250).any(axis=2).mean() > 0.9  # the picture
    assert find_colour(canvas, SERIES[0]).any()  # bars
