"""The raw files that were built from real Canon views, where they lie beside the checkout: the figures of `split`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import rawpy

from dpdeblur.errors import NoSecondViewError, ReadError
from dpdeblur.readers import Capture, probe_photo, read_mosaic, read_photo

Floats = npt.NDArray[np.float64]
DUAL = [("dual_box001.cr2", "box_001", 34), ("dual_box001.dng", "box_001", 34), ("dual_box002.cr3", "box_002", 30)]
ALL_DUAL = [name for name, *_ in DUAL] + ["dual_box001_rotated.cr2"]


def encode(linear: npt.NDArray[np.float32]) -> Floats:
    """The sRGB curve of IEC 61966-2-1, as an exported file would hold it."""
    clipped = np.clip(linear.astype(np.float64), 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def measure_psnr(view: Floats, original: Floats) -> float:
    """PSNR after one linear fit per channel, peak 1."""
    error = 0.0
    for channel in range(3):
        design = np.stack([view[..., channel].ravel(), np.ones(view[..., channel].size)], 1)
        target = original[..., channel].ravel()
        coefficients = np.linalg.lstsq(design, target, rcond=None)[0]
        error += float(np.mean((design @ coefficients - target) ** 2)) / 3
    return float(10 * np.log10(1 / error))


def unpack(path: Path, shot: int) -> npt.NDArray[np.int64]:
    raw = rawpy.RawPy()
    raw.set_unpack_params(shot_select=shot)
    raw.open_file(str(path))
    raw.unpack()
    codes = raw.raw_image.astype(np.int64)
    raw.close()
    return codes


@pytest.mark.parametrize(("name", "box", "least_db"), DUAL)
def test_views_agree_with_the_real_ones_and_each_is_nearer_its_own(
    shared: Path, name: str, box: str, least_db: float
) -> None:
    photo = read_photo(Capture((shared / "fixtures" / name,)))
    assert photo.left is not None and photo.right is not None
    originals = []
    for side in ("l", "r"):
        original = cv2.imread(str(shared / "data" / "canon_r6" / box / f"{side}.png"))
        assert original is not None
        originals.append(original[..., ::-1] / 255)
    for view, own, other in ((photo.left, *originals), (photo.right, *originals[::-1])):
        psnr_db = measure_psnr(encode(view), own)
        assert psnr_db >= least_db
        assert psnr_db - measure_psnr(encode(view), other) >= 0.4


@pytest.mark.parametrize("name", ALL_DUAL)
def test_mosaics_are_the_photodiodes_values_to_the_last_bit(shared: Path, name: str) -> None:
    path = shared / "fixtures" / name
    frame0, frame1 = unpack(path, 0), unpack(path, 1)
    assert not np.array_equal(frame0, frame1)
    mosaic = read_mosaic(Capture((path,)))
    np.testing.assert_array_equal(mosaic.left, frame1)
    np.testing.assert_array_equal(mosaic.right, np.clip((frame0 - 512) - (frame1 - 512) + 512, 0, None))


@pytest.mark.parametrize("name", ALL_DUAL)
def test_views_have_frame_zeros_mean_luminance(shared: Path, name: str) -> None:
    photo = read_photo(Capture((shared / "fixtures" / name,)))
    luminance = np.array([0.2126, 0.7152, 0.0722])
    assert photo.left is not None and photo.right is not None
    for view in (photo.left, photo.right):
        ratio = float((np.clip(view, 0, 1) @ luminance).mean() / (np.clip(photo.base, 0, 1) @ luminance).mean())
        assert abs(ratio - 1) < 0.02


def test_the_rotated_raw_has_the_same_views_of_the_sensor(shared: Path) -> None:
    upright = read_photo(Capture((shared / "fixtures" / "dual_box001.cr2",)))
    rotated = read_photo(Capture((shared / "fixtures" / "dual_box001_rotated.cr2",)))
    assert (upright.orientation, rotated.orientation) == (1, 6)
    for mine, other in ((rotated.base, upright.base), (rotated.left, upright.left), (rotated.right, upright.right)):
        assert mine is not None and other is not None
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("name", ["single_box001.cr2", "single_box001.dng", "single_box002.cr3", "burst_box002.cr3"])
def test_single_frames_and_bursts_are_single_images(shared: Path, name: str) -> None:
    capture = Capture((shared / "fixtures" / name,))
    photo, probe = read_photo(capture), probe_photo(capture)
    assert (photo.kind, photo.is_dual, probe.kind, probe.dual) == ("raw", False, "raw", False)
    assert ["burst" in warning for warning in photo.warnings] == ([True] if name.startswith("burst") else [])
    with pytest.raises(NoSecondViewError):
        read_mosaic(capture)


@pytest.mark.parametrize(
    "name",
    [
        "fixtures/truncated.cr2",
        "data/raw/canon_350d_header_only.cr2",
        "data/raw/canon_m50_header_only.cr3",
        "data/raw/canon_r6_header_only.cr3",
    ],
)
def test_raws_without_their_data_are_refused_in_one_line(shared: Path, name: str) -> None:
    for act in (read_photo, probe_photo, read_mosaic):
        with pytest.raises(ReadError) as caught:
            act(Capture((shared / name,)))
        line = str(caught.value)
        assert Path(name).name in line and "copy it again" in line and "\n" not in line


@pytest.mark.parametrize("share", [0.02, 0.4, 0.6, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("name", ["dual_box002.cr3", "burst_box002.cr3", "single_box002.cr3"])
def test_a_cut_cr3_is_refused_wherever_it_was_cut(shared: Path, tmp_path: Path, name: str, share: float) -> None:
    content = (shared / "fixtures" / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ReadError, match="cut short"):
        probe_photo(Capture((path,)))


@pytest.mark.parametrize(
    ("name", "shape", "orientation"),
    [
        ("canon_d30.crw", (1448, 2176, 3), 1),
        ("sample_1mp.dng", (338, 600, 3), 1),
        ("sample_1mp_rotated.dng", (338, 600, 3), 8),
    ],
)
def test_other_raws_are_developed(shared: Path, name: str, shape: tuple[int, ...], orientation: int) -> None:
    photo = read_photo(Capture((shared / "data" / "raw" / name,)))
    assert (photo.kind, photo.base.shape, photo.orientation) == ("raw", shape, orientation)
    assert 0.01 < photo.base.mean() < 0.5
