"""The synthetic captures are what they say: checked by LibRaw, ExifTool, ExifRead, Pillow and another JPEG decoder."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import captures
import exifread
import numpy as np
import pytest
import rawpy
from cr2_captures import GRAY_JPEG
from mosaics import BLACK, CAMERA_FROM_XYZ, WB, WHITE, Frame, Scene, camera_from_srgb
from PIL import Image

RANGE = WHITE - BLACK[0]
WriteDual = Callable[..., None]
needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def open_shot(path: Path, shot: int) -> rawpy.RawPy:
    raw = rawpy.RawPy()
    raw.set_unpack_params(shot_select=shot)
    raw.open_file(str(path))
    raw.unpack()
    return raw


def draw_noise(shape: tuple[int, int], bits: int, seed: int) -> Frame:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(np.uint16)


def read_with_exiftool(path: Path) -> dict[str, object]:
    options = ["-json", "-G1", "-n", "-a", "-struct"]
    done = subprocess.run(["exiftool", *options, str(path)], capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout)[0])


# ---- raws as LibRaw reads them


@pytest.mark.parametrize("slices", [1, 2, 3, 5])
@pytest.mark.parametrize("raw_directories_last", [False, True])
def test_libraw_decodes_both_cr2_frames_bit_for_bit(tmp_path: Path, slices: int, raw_directories_last: bool) -> None:
    frames = draw_noise((38, 76), 14, 0), draw_noise((38, 76), 14, 1)
    path = tmp_path / "a.cr2"
    captures.write_dual_cr2(path, *frames, slices=slices, raw_directories_last=raw_directories_last)
    for shot, frame in enumerate(frames):
        with open_shot(path, shot) as raw:
            np.testing.assert_array_equal(raw.raw_image_visible, frame)


@pytest.mark.parametrize("write", [captures.write_dual_dng, captures.write_burst_dng])
def test_libraw_decodes_both_dng_frames_bit_for_bit(tmp_path: Path, write: WriteDual) -> None:
    frames = draw_noise((38, 76), 16, 0), draw_noise((38, 76), 16, 1)
    write(tmp_path / "a.dng", *frames)
    for shot, frame in enumerate(frames):
        with open_shot(tmp_path / "a.dng", shot) as raw:
            np.testing.assert_array_equal(raw.raw_image_visible, frame)


@pytest.mark.parametrize(("name", "bits"), [("a.cr2", 14), ("a.dng", 16)])
def test_a_single_raw_has_one_frame(tmp_path: Path, name: str, bits: int) -> None:
    frame = draw_noise((40, 36), bits, 0)
    write = captures.write_single_cr2 if name == "a.cr2" else captures.write_single_dng
    write(tmp_path / name, frame)
    with open_shot(tmp_path / name, 0) as raw:
        np.testing.assert_array_equal(raw.raw_image_visible, frame)
    with pytest.raises(rawpy.LibRawRequestForNonexistentImageError):
        open_shot(tmp_path / name, 1)


@pytest.mark.parametrize(("orientation", "flip"), [(1, 0), (3, 3), (6, 6), (8, 5)])
@pytest.mark.parametrize("name", ["a.cr2", "a.dng"])
def test_libraw_reads_what_the_raw_states(tmp_path: Path, name: str, orientation: int, flip: int) -> None:
    frame = draw_noise((36, 40), 14, 0)
    write: WriteDual = captures.write_dual_cr2 if name == "a.cr2" else captures.write_dual_dng
    black, wb = (520, 511, 513, 509), (2100, 1024, 1024, 1700)
    write(tmp_path / name, frame, frame, black=black, white=14800, wb=wb, orientation=orientation)
    with open_shot(tmp_path / name, 0) as raw:
        assert raw.black_level_per_channel == [520, 511, 509, 513]  # LibRaw's order: R, G1, B, G2
        multipliers = np.array(raw.camera_whitebalance)
        np.testing.assert_allclose(multipliers[[0, 2]] / multipliers[1], [2100 / 1024, 1700 / 1024], rtol=1e-6)
        assert raw.raw_pattern.tolist() == [[0, 1], [3, 2]] and raw.color_desc == b"RGBG"
        assert raw.sizes.flip == flip
        np.testing.assert_allclose(raw.rgb_xyz_matrix[:3], CAMERA_FROM_XYZ / 10000, atol=1e-7)
        white = raw.camera_white_level_per_channel[0] if name == "a.cr2" else raw.white_level
        assert white == 14800


def test_each_sample_of_a_dual_dng_has_its_own_black(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "a.dng"
    captures.write_dual_dng(path, scene.frame0, scene.frame1, black=(520, 521, 522, 523), black1=(511, 510, 509, 508))
    with open_shot(path, 0) as raw:
        assert raw.black_level_per_channel == [520, 521, 523, 522]
    with open_shot(path, 1) as raw:
        assert raw.black_level_per_channel == [511, 510, 508, 509]


@pytest.mark.parametrize("name", ["a.cr2", "a.dng"])
def test_a_masked_border_lies_around_the_frame(tmp_path: Path, scene: Scene, name: str) -> None:
    write: WriteDual = captures.write_dual_cr2 if name == "a.cr2" else captures.write_dual_dng
    write(tmp_path / name, scene.frame0, scene.frame1, masked=(6, 10))
    with open_shot(tmp_path / name, 1) as raw:
        assert (raw.sizes.top_margin, raw.sizes.left_margin) == (6, 10)
        assert raw.raw_image.shape == (scene.frame1.shape[0] + 6, scene.frame1.shape[1] + 10)
        assert np.all(raw.raw_image[:6] == 512) and np.all(raw.raw_image[:, :10] == 512)
        np.testing.assert_array_equal(raw.raw_image_visible, scene.frame1)


def test_a_file_cut_in_frame_1_announces_two_frames_only_if_its_directories_come_first(
    tmp_path: Path, scene: Scene
) -> None:
    expected = {False: rawpy.LibRawIOError, True: rawpy.LibRawRequestForNonexistentImageError}
    for raw_directories_last, error in expected.items():
        captures.write_dual_cr2(
            tmp_path / "a.cr2", scene.frame0, scene.frame1, raw_directories_last=raw_directories_last
        )
        captures.truncate_file(tmp_path / "a.cr2", tmp_path / "cut.cr2", 0.9)
        assert (tmp_path / "cut.cr2").read_bytes() == (tmp_path / "a.cr2").read_bytes()[
            : (tmp_path / "a.cr2").stat().st_size * 9 // 10
        ]
        with open_shot(tmp_path / "cut.cr2", 0) as raw:
            np.testing.assert_array_equal(raw.raw_image_visible, scene.frame0)
        with pytest.raises(error):
            open_shot(tmp_path / "cut.cr2", 1)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        views = captures.draw_views(64, 64)
        frames = captures.dual_frames(*views, electrons_at_white=20000, read_noise=4, seed=7)
        captures.write_dual_cr2(tmp_path / f"{name}.cr2", *frames)
        captures.write_dual_dng(tmp_path / f"{name}.dng", *frames)
    for suffix in ("cr2", "dng"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (np.zeros((40, 41), np.uint16), {}, "even sides"),
        (np.zeros((30, 40), np.uint16), {}, "at least 32"),
        (np.zeros((40, 40), np.float32), {}, "uint16"),
        (np.full((40, 40), 16384, np.uint16), {}, "14 bits"),
        (np.zeros((40, 40), np.uint16), {"masked": (1, 0)}, "colour pattern"),
        (np.zeros((40, 40), np.uint16), {"slices": 21}, "do not make 21 slices"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(
    tmp_path: Path, frame: Frame, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        captures.write_single_cr2(tmp_path / "a.cr2", frame, **options)
    assert not (tmp_path / "a.cr2").exists()


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one shape"):
        captures.write_dual_cr2(tmp_path / "a.cr2", np.zeros((40, 40), np.uint16), np.zeros((40, 42), np.uint16))


# ---- metadata


@needs_exiftool
@pytest.mark.parametrize("fixture", ["dual_cr2", "rotated_cr2", "single_cr2", "dual_dng", "single_dng", "burst_dng"])
def test_exiftool_reads_the_metadata_without_a_warning(request: pytest.FixtureRequest, fixture: str) -> None:
    tags = read_with_exiftool(request.getfixturevalue(fixture))
    assert not [name for name in tags if name.endswith((":Warning", ":Error"))]
    expected: dict[str, object] = {
        "IFD0:Make": "Canon",
        "IFD0:Model": "Canon EOS 5D Mark IV",
        "IFD0:Orientation": 6 if fixture == "rotated_cr2" else 1,
        "IFD0:Copyright": "(c) Test Ünïcode",
        "ExifIFD:FNumber": 1.4,
        "ExifIFD:ExposureTime": 0.005,
        "ExifIFD:ExposureCompensation": pytest.approx(-1 / 3),
        "ExifIFD:DateTimeOriginal": "2024:03:05 11:22:33",
        "ExifIFD:OffsetTimeOriginal": "+02:00",
        "ExifIFD:UserComment": "Grüße",
        "ExifIFD:LensModel": "EF50mm f/1.4 USM",
        "ExifIFD:ExifImageWidth": 96,
        "ExifIFD:ExifImageHeight": 64,
        "GPS:GPSAltitude": 35.12,
        "Composite:GPSLatitude": pytest.approx(48 + 51 / 60 + 30.123 / 3600),
        "Composite:GPSLongitude": pytest.approx(2 + 17 / 60 + 40.777 / 3600),
        "XMP-xmp:Rating": 3,
    }
    if fixture.endswith("cr2"):
        expected |= {
            "Canon:OwnerName": "Test Owner",
            "Canon:LensModel": "EF50mm f/1.4 USM",
            "Canon:WB_RGGBLevelsAsShot": "2048 1024 1024 1536",
            "Canon:PerChannelBlackLevel": "512 512 512 512",
            "Canon:SpecularWhiteLevel": 15000,
            "Canon:SensorWidth": 104 if fixture == "rotated_cr2" else 96,
        }
    assert {name: tags.get(name) for name in expected} == expected


@needs_exiftool
def test_exiftool_validates_every_capture(dual_cr2: Path, dual_dng: Path, burst_dng: Path) -> None:
    for path in (dual_cr2, dual_dng, burst_dng):
        command = ["exiftool", "-validate", "-warning", "-s3", str(path)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "OK"


def test_exifread_reads_the_metadata(dual_cr2: Path, dual_dng: Path) -> None:
    for path in (dual_cr2, dual_dng):
        with path.open("rb") as stream:
            tags = exifread.process_file(stream)
        assert str(tags["Image Model"]) == "Canon EOS 5D Mark IV"
        assert str(tags["EXIF LensModel"]) == "EF50mm f/1.4 USM"
        assert str(tags["EXIF SubSecTimeOriginal"]) == "42"
        assert [float(value) for value in tags["GPS GPSLatitude"].values] == [48, 51, 30.123]


@pytest.mark.parametrize("write", [captures.write_single_cr2, captures.write_single_dng])
def test_metadata_can_be_left_out(tmp_path: Path, scene: Scene, write: WriteDual) -> None:
    write(tmp_path / "a", scene.frame0, metadata=False)
    with (tmp_path / "a").open("rb") as stream:
        tags = exifread.process_file(stream)
    assert str(tags["Image Model"]) == "Canon EOS 5D Mark IV"  # LibRaw could not decode a CR2 without it
    assert not [name for name in tags if name.startswith("GPS") or name == "EXIF LensModel" or name == "Image Artist"]
    with open_shot(tmp_path / "a", 0) as raw:
        np.testing.assert_array_equal(raw.raw_image_visible, scene.frame0)
        np.testing.assert_allclose(raw.camera_whitebalance[0] / raw.camera_whitebalance[1], 2)


def test_the_preview_is_a_flat_gray_picture() -> None:
    preview = np.asarray(Image.open(io.BytesIO(GRAY_JPEG)))
    assert preview.shape == (16, 16) and np.all(preview == 128)


# ---- development


@pytest.mark.parametrize("name", ["a.cr2", "a.dng"])
def test_a_developed_ramp_is_the_ramp(tmp_path: Path, name: str) -> None:
    # a bilinear demosaic is exact on an affine picture, so only roundings remain: half a recorded unit per photosite
    # (white balanced, then through the matrix), one code of 16 bits each in scaling and demosaic, one in the output
    rows, columns = np.mgrid[0:64, 0:96] / 96
    steps = ((0.2, 0.3, 0.2), (0.3, 0.2, -0.1), (0.4, -0.2, 0.1))
    image = np.stack([start + right * columns + down * rows for start, right, down in steps], axis=-1)
    write = captures.write_single_cr2 if name == "a.cr2" else captures.write_single_dng
    write(tmp_path / name, captures.mosaic_from_linear(image))
    with open_shot(tmp_path / name, 0) as raw:
        developed = raw.postprocess(
            use_camera_wb=True,
            user_sat=RANGE,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            gamma=(1, 1),
            output_bps=16,
            demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
        )
    camera_bound = 0.5 / RANGE * np.array(WB)[[0, 1, 3]] / 1024 + 2 / 65535
    bound = np.abs(np.linalg.inv(camera_from_srgb())) @ camera_bound + 1 / 65535
    error = np.abs(developed / 65535 - image)[1:-1, 1:-1].max(axis=(0, 1))
    assert np.all(error <= bound), (error, bound)


# ---- Pixel app pairs


def test_pillow_reads_the_pixel_pair(tmp_path: Path) -> None:
    views = draw_noise((5, 7), 16, 0), draw_noise((5, 7), 16, 1)
    paths = captures.write_pixel_pair(tmp_path, "20240305_112233_042", *views)
    assert [path.name for path in paths] == ["20240305_112233_042_left.pgm", "20240305_112233_042_right.pgm"]
    for path, view in zip(paths, views, strict=True):
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), view)
        assert path.read_bytes().startswith(b"P5 7 5 65535\n") and path.stat().st_size == 13 + 2 * 35


# ---- what conftest.py hands out


@pytest.mark.parametrize("fixture", ["dual_cr2", "rotated_cr2", "dual_dng"])
def test_the_dual_captures_hold_the_scenes_frames(request: pytest.FixtureRequest, scene: Scene, fixture: str) -> None:
    for shot, frame in enumerate((scene.frame0, scene.frame1)):
        with open_shot(request.getfixturevalue(fixture), shot) as raw:
            np.testing.assert_array_equal(raw.raw_image_visible, frame)


@pytest.mark.parametrize("fixture", ["burst_cr2", "burst_dng"])
def test_the_second_frame_of_a_burst_is_a_full_exposure(request: pytest.FixtureRequest, fixture: str) -> None:
    means = []
    for shot in (0, 1):
        with open_shot(request.getfixturevalue(fixture), shot) as raw:
            means.append(raw.raw_image_visible.mean() - 512)
    assert means[1] == pytest.approx(means[0], rel=0.05)  # a photodiode's frame would have half
