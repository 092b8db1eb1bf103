"""The pictures of a report: their places and sizes, the colours of the map, what is clipped."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pages import draw_photo, make_small_preview

from dpdeblur.colour.spaces import ADOBE_RGB, SRGB
from dpdeblur.metadata.entries import Metadata
from dpdeblur.metadata.provenance import read_note
from dpdeblur.photo import Image, Photo
from dpdeblur.restoration.defocus import DefocusMap
from dpdeblur.writers.examiner import Examiner, name_file
from dpdeblur.writers.overlay import Clipping, colour_defocus, find_clipping, pack_png
from dpdeblur.writers.preview import Side, make_preview


def decode(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)


def draw_corner(height: int = 40, width: int = 60) -> Image:
    """Gray with a white upper left corner: what shows which way is up."""
    image = np.full((height, width, 1), 0.2, np.float32)
    image[: height // 4, : width // 4] = 1
    return image


@pytest.mark.parametrize(
    ("orientation", "corner"),
    # where row 0 and column 0 of the sensor are to be seen (Exif 2.32, 4.6.4.A)
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_pictures_are_upright(orientation: int, corner: tuple[int, int]) -> None:
    side = Side(draw_corner(), SRGB, orientation)
    preview = make_preview(side, side, None, 1_000_000)
    shown = decode(preview.whole.after)
    assert shown.shape == ((40, 60) if orientation < 5 else (60, 40))
    assert (preview.whole.width, preview.whole.height) == shown.shape[::-1]
    bright = [(y, x) for y in (0, -1) for x in (0, -1) if shown[y, x] > 200]
    assert bright == [corner]
    clipped = decode(preview.clipping.png or b"")
    assert [(y, x) for y in (0, -1) for x in (0, -1) if clipped[y, x, 3]] == [corner]


def test_the_detail_is_what_changed_most_with_all_its_pixels() -> None:
    before = draw_photo(2400, 1600).mean(axis=2, keepdims=True)
    after = before.copy()
    after[900:1100, 1500:1800] += 0.2
    preview = make_preview(Side(before, SRGB, 1), Side(after, SRGB, 1), None, 300_000)
    detail = preview.detail
    assert detail is not None
    assert detail.x <= 1500 + 20 and detail.x + detail.width >= 1800 - 20
    assert detail.y <= 900 + 20 and detail.y + detail.height >= 1100 - 20
    shown = decode(detail.after)
    assert shown.shape[:2] == (detail.height, detail.width)
    linear = after[detail.y : detail.y + detail.height, detail.x : detail.x + detail.width]
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055)
    assert np.abs(shown.astype(float) - np.clip(expected[..., 0], 0, 255)).mean() < 1.5


def test_a_detail_of_a_turned_photo_lies_where_it_is_seen() -> None:
    """Orientation 6: what lies at the sensor's row r, column c is seen at row c, column (height - 1 - r)."""
    before = draw_photo(2400, 1600)
    after = before.copy()
    after[100:300, 1500:1800] += 0.2
    preview = make_preview(Side(before, SRGB, 6), Side(after, SRGB, 6), None, 300_000)
    assert preview.detail is not None
    centre = preview.detail.x + preview.detail.width / 2, preview.detail.y + preview.detail.height / 2
    assert centre[0] == pytest.approx(1600 - 200, abs=250)
    assert centre[1] == pytest.approx(1650, abs=250)


def test_a_small_photo_is_shown_with_all_its_pixels_and_needs_no_detail() -> None:
    preview = make_small_preview(300, 200, budget_bytes=500_000)
    assert preview.detail is None
    assert decode(preview.whole.before).shape == (200, 300, 3)


@pytest.mark.parametrize("budget_bytes", [40_000, 128_000, 1_600_000])
def test_noise_keeps_within_the_budget_too(budget_bytes: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 1, (1000, 1500, 3)).astype(np.float32)
    defocus = DefocusMap(
        "disparity", rng.normal(0, 3, (100, 150)).astype(np.float32), rng.uniform(0, 1, (100, 150)).astype(np.float32)
    )
    preview = make_preview(Side(noise, SRGB, 1), Side(noise[::-1], SRGB, 1), defocus, budget_bytes)
    assert preview.detail is not None
    jpegs = (preview.thumbnail, preview.whole.before, preview.whole.after, preview.detail.before, preview.detail.after)
    assert sum(map(len, jpegs)) * 4 / 3 < budget_bytes * 0.9


def test_pictures_of_another_colour_space_are_shown_in_srgb() -> None:
    red = np.tile(np.array([0.4, 0.1, 0.1], np.float32), (32, 32, 1))
    side = Side(red, ADOBE_RGB, 1)
    shown = decode(make_preview(side, side, None, 500_000).whole.after)[16, 16, ::-1]
    linear = ADOBE_RGB.to_linear_srgb @ [0.4, 0.1, 0.1]
    np.testing.assert_allclose(shown, 255 * (1.055 * linear ** (1 / 2.4) - 0.055), atol=2.5)


def test_gray_stays_gray() -> None:
    side = Side(draw_corner(), SRGB, 1)
    assert decode(make_preview(side, side, None, 500_000).whole.after).ndim == 2


def test_the_mean_change_is_that_of_the_encoded_values() -> None:
    before = np.full((20, 30, 1), 0.214041, np.float32)  # sRGB 0.5
    after = np.full((20, 30, 1), 0.318547, np.float32)  # sRGB 0.6
    assert make_preview(Side(before, SRGB, 1), Side(after, SRGB, 1), None, 500_000).change == pytest.approx(
        0.1, abs=1 / 255
    )


def test_a_single_clipped_pixel_of_a_large_photo_is_marked() -> None:
    image = np.full((3000, 4000, 3), 0.3, np.float32)
    image[1234, 2345, 1] = 1.0
    image[77, 3999] = 0.0
    clipping = find_clipping(image, 1)
    assert clipping.white_share == clipping.black_share == 1 / 12_000_000
    marks = decode(clipping.png or b"")
    white, black = np.argwhere(marks[..., 2] > 200), np.argwhere(marks[..., 0] > 200)
    np.testing.assert_array_equal(white, [[1234 * 360 // 3000, 2345 * 480 // 4000]])
    np.testing.assert_array_equal(black, [[77 * 360 // 3000, 479]])


def test_a_picture_that_is_not_clipped_has_no_marks() -> None:
    assert find_clipping(np.full((30, 40, 3), 0.5, np.float32), 1) == Clipping(None, 0.0, 0.0)


def test_the_map_is_blue_before_zero_orange_behind_and_clear_at_zero() -> None:
    values = np.linspace(-4, 4, 9, dtype=np.float32)[None].repeat(6, axis=0)
    overlay = colour_defocus(DefocusMap("disparity", values, np.ones_like(values)), (600, 900), 1)
    assert (overlay.low_px, overlay.high_px) == (-5, 5)
    colours = decode(overlay.png)
    assert colours.shape[:2] == (171, 256)
    left, middle, right = (colours[80, x].astype(int) for x in (0, 128, 255))
    assert left[0] > left[2] + 80 and left[3] > 150
    assert right[2] > right[0] + 80 and right[3] > 150
    assert middle[3] < 40


def test_what_is_not_certain_is_not_drawn() -> None:
    values = np.full((6, 9), 3, np.float32)
    confidence = np.zeros_like(values)
    confidence[:, 5:] = 1
    colours = decode(colour_defocus(DefocusMap("blur radius", values, confidence), (600, 900), 1).png)
    assert colours[80, 10, 3] == 0
    assert colours[80, 250, 3] > 100


def test_a_map_of_nothing_has_a_scale_still() -> None:
    nothing = np.zeros((3, 4), np.float32)
    overlay = colour_defocus(DefocusMap("disparity", nothing, nothing), (30, 40), 1)
    assert (overlay.low_px, overlay.high_px) == (-0.5, 0.5)
    assert decode(overlay.png)[..., 3].max() == 0


def test_a_png_with_a_palette_is_what_opencv_reads() -> None:
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    palette = [(255, 0, 0, 255), (0, 255, 0, 128), (1, 2, 3, 0)]
    expected = np.array(palette, np.uint8)[indices][..., [2, 1, 0, 3]]
    np.testing.assert_array_equal(decode(pack_png(indices, palette)), expected)


def make_photo(path: Path) -> Photo:
    return Photo((path,), "image", draw_photo(1500, 1000), metadata=Metadata(exif=()))


NO_DEFOCUS = DefocusMap("blur radius", np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))


def test_all_pixels_are_kept_beside_the_report_where_it_is_asked(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "IMG 1 <b>.CR2")
    preview = Examiner(60_000, tmp_path / "r files").examine(photo, photo.base * 2, NO_DEFOCUS)
    assert preview is not None and preview.full is not None
    assert preview.full[0].startswith("r%20files/IMG_1__b_-")
    paths = [tmp_path / name.replace("%20", " ") for name in preview.full]
    for path in paths:
        assert decode(path.read_bytes()).shape == (1000, 1500, 3)
        note = read_note(path)
        assert note is not None and note.is_restored, "a walk through folders must pass it by"
    assert decode(paths[1].read_bytes()).mean() > decode(paths[0].read_bytes()).mean() + 20


def test_a_picture_that_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    photo, folder = make_photo(tmp_path / "a.CR2"), tmp_path / "r_files"
    folder.mkdir()
    mine = folder / f"{name_file(photo.paths)}-after.jpg"
    mine.write_bytes(b"my own")
    preview = Examiner(60_000, folder).examine(photo, photo.base, NO_DEFOCUS)
    assert preview is not None and preview.full is None
    assert "was not written by dpdeblur" in preview.warnings[0]
    assert mine.read_bytes() == b"my own"


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.CR2")
    (tmp_path / "r_files").write_text("a file")
    preview = Examiner(60_000, tmp_path / "r_files").examine(photo, photo.base, NO_DEFOCUS)
    assert preview is not None and preview.full is None
    assert "cannot be made" in preview.warnings[0]


def test_photos_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    names = {name_file((tmp_path / folder / "a.CR2",)) for folder in ("x", "y")}
    assert len(names) == 2


def test_an_examiner_can_travel_to_another_process() -> None:
    examiner = Examiner(1000, Path("r_files"))
    assert pickle.loads(pickle.dumps(examiner.examine)).__self__ == examiner
