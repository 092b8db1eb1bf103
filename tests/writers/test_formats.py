"""TIFF, PNG and JPEG as other programs decode them: libtiff (OpenCV), libpng and libjpeg (imagecodecs), Pillow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from dpdeblur.colour.spaces import COLOUR_SPACES, LINEAR_SRGB, ColourSpace
from dpdeblur.errors import UsageError, WriteError
from dpdeblur.metadata.entries import Metadata
from dpdeblur.photo import Photo
from dpdeblur.writers import WRITERS, WriteOptions, write_image
from dpdeblur.writers.picture import Picture

SIZES = [(1, 1), (1, 300), (300, 1), (37, 53), (700, 500)]


def make_samples(height: int, width: int, channels: int) -> npt.NDArray[np.uint16]:
    """16-bit samples, smooth with noise, and the extremes."""
    generator = np.random.default_rng(height * 1000 + width)
    ramp = np.linspace(0, 40000, height * width).reshape(height, width, 1)
    samples = ramp + generator.integers(0, 25000, (height, width, channels))
    samples.flat[0], samples.flat[-1] = 65535, 0
    return samples.astype(np.uint16)


def write_samples(path: Path, samples: npt.NDArray[np.uint16], options: WriteOptions, **photo: Any) -> tuple[str, ...]:
    """Write samples as linear values, so that the file must hold them again; 2 or 4 channels end in alpha."""
    values = samples.astype(np.float32) / 65535
    has_alpha = samples.shape[2] in (2, 4)
    image = values[..., :-1] if has_alpha else values
    alpha = values[..., -1] if has_alpha else None
    made = Photo(paths=(), kind="image", base=image, colour=LINEAR_SRGB, alpha=alpha, **photo)
    return write_image(path, image, made, options, provenance="test")


@pytest.mark.parametrize("compression", ["zlib", "none"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_libtiff_reads_every_sample_of_a_tiff(
    tmp_path: Path, size: tuple[int, int], channels: int, byte_order: Any, compression: Any
) -> None:
    samples = make_samples(*size, channels)
    path = tmp_path / "a.tif"
    options = WriteOptions(compression=compression)
    assert write_samples(path, samples, options, metadata=Metadata(byte_order=byte_order)) == ()
    assert path.read_bytes()[:2] == (b"II" if byte_order == "<" else b"MM")
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert read is not None
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    np.testing.assert_array_equal(read.reshape(samples.shape)[..., order], samples)


def test_a_tiff_says_what_its_samples_are(tmp_path: Path) -> None:
    for channels, photometric, extra in ((1, 1, ()), (2, 1, (2,)), (3, 2, ()), (4, 2, (2,))):
        samples = make_samples(20, 30, channels)
        write_samples(tmp_path / "a.tif", samples, WriteOptions())
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert len(tiff.pages) == 1
            page = tiff.pages[0]
            assert page.photometric == photometric
            assert tuple(page.extrasamples) == extra  # 2: unassociated alpha
            assert (page.compression, page.predictor) == (8, 2)
            np.testing.assert_array_equal(page.asarray().reshape(samples.shape), samples)


def test_a_tiff_is_the_same_without_imagecodecs(tmp_path: Path) -> None:
    program = """
import sys
if sys.argv[2] == "without":
    sys.modules["imagecodecs"] = None
from pathlib import Path
import numpy as np
from dpdeblur.photo import Photo
from dpdeblur.writers import WriteOptions, write_image
image = np.random.default_rng(0).random((300, 400, 3), np.float32)
photo = Photo(paths=(), kind="image", base=image)
write_image(Path(sys.argv[1]), image, photo, WriteOptions(), provenance="test")
"""
    for name in ("with", "without"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name), name], check=True)
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()


@pytest.mark.parametrize("compression", ["zlib", "none"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_libpng_reads_every_sample_of_a_png(
    tmp_path: Path, size: tuple[int, int], channels: int, compression: Any
) -> None:
    samples = make_samples(*size, channels)
    path = tmp_path / "a.png"
    assert write_samples(path, samples, WriteOptions(format="png", compression=compression)) == ()
    read = imagecodecs.png_decode(path.read_bytes())
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read.reshape(samples.shape), samples)
    with Image.open(path) as image:  # Pillow checks every chunk's checksum
        image.verify()


@pytest.mark.parametrize("channels", [1, 3])
def test_libjpeg_reads_a_jpeg_within_its_loss(tmp_path: Path, channels: int) -> None:
    ramp = np.linspace(0, 65535, 64 * 96).reshape(64, 96, 1).astype(np.uint16)
    samples = np.concatenate([ramp, ramp[::-1], ramp[:, ::-1]], axis=2)[..., :channels]
    path = tmp_path / "a.jpg"
    assert write_samples(path, samples, WriteOptions(format="jpeg", quality=100)) == ()
    read = imagecodecs.jpeg_decode(path.read_bytes()).reshape(samples.shape)
    assert np.abs(read - samples / 257).mean() < 1
    with Image.open(path) as image:
        assert image.mode == ("L" if channels == 1 else "RGB")


def test_a_jpeg_of_less_quality_is_smaller(tmp_path: Path) -> None:
    samples = make_samples(200, 300, 3)
    for quality in (50, 95):
        write_samples(tmp_path / f"{quality}.jpg", samples, WriteOptions(format="jpeg", quality=quality))
    assert (tmp_path / "50.jpg").stat().st_size < 0.6 * (tmp_path / "95.jpg").stat().st_size


def test_a_jpeg_loses_its_alpha_with_a_warning(tmp_path: Path) -> None:
    warnings = write_samples(tmp_path / "a.jpg", make_samples(8, 8, 4), WriteOptions(format="jpeg"))
    assert warnings == ("JPEG has no transparency; the alpha channel was left out.",)
    assert imagecodecs.jpeg_decode((tmp_path / "a.jpg").read_bytes()).shape == (8, 8, 3)


@pytest.mark.parametrize("name", list(COLOUR_SPACES))
@pytest.mark.parametrize("file_format", list(WRITERS))
@pytest.mark.parametrize("channels", [1, 3])
def test_the_profile_of_the_chosen_space_is_embedded(
    tmp_path: Path, name: str, file_format: Any, channels: int
) -> None:
    path = tmp_path / "a"
    write_samples(path, make_samples(8, 8, channels), WriteOptions(format=file_format, profile=name))
    with Image.open(path) as image:
        space = COLOUR_SPACES[name]
        assert image.info["icc_profile"] == (space.gray_icc if channels == 1 else space.icc)


@pytest.mark.parametrize("file_format", list(WRITERS))
def test_without_a_choice_the_photo_s_own_profile_is_embedded(tmp_path: Path, file_format: Any) -> None:
    own = b"its own profile, larger than one segment of a JPEG" * 2000
    space = ColourSpace("file: own", np.eye(3), LINEAR_SRGB.curves, icc=own, gray_icc=None)
    image = np.full((4, 4, 3), 0.5, np.float32)
    photo = Photo(paths=(), kind="image", base=image, colour=space)
    assert write_image(tmp_path / "a", image, photo, WriteOptions(format=file_format), provenance="test") == ()
    with Image.open(tmp_path / "a") as read:
        assert read.info["icc_profile"] == own
    gray = image[..., :1]
    warnings = write_image(tmp_path / "a", gray, photo, WriteOptions(format=file_format), provenance="test")
    assert "has no profile for this picture" in warnings[0]
    with Image.open(tmp_path / "a") as read:
        assert "icc_profile" not in read.info


@pytest.mark.parametrize("file_format", list(WRITERS))
def test_orientation_turns_picture_and_alpha_alike(tmp_path: Path, file_format: Any) -> None:
    samples = make_samples(6, 10, 4)
    write_samples(tmp_path / "a", samples, WriteOptions(format=file_format), orientation=6)
    with Image.open(tmp_path / "a") as image:
        assert image.size == (6, 10)
        assert image.getexif()[0x112] == 1
    if file_format == "png":
        read = imagecodecs.png_decode((tmp_path / "a").read_bytes())
        np.testing.assert_array_equal(read, np.rot90(samples, -1))  # 6: turn clockwise


@pytest.mark.parametrize("file_format", list(WRITERS))
def test_values_that_are_no_numbers_leave_nothing_behind(tmp_path: Path, file_format: Any) -> None:
    image = np.full((900, 800, 3), 0.5, np.float32)
    image[870, 3, 1] = np.nan
    photo = Photo(paths=(), kind="image", base=image)
    with pytest.raises(WriteError, match="not numbers") as caught:
        write_image(tmp_path / "a", image, photo, WriteOptions(format=file_format), provenance="test")
    assert caught.value.path == tmp_path / "a"
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_large_for_its_format_is_refused_before_any_work(tmp_path: Path) -> None:
    line = np.broadcast_to(np.float32(0), (1, 65501, 3))
    photo = Photo(paths=(), kind="image", base=line)
    with pytest.raises(WriteError, match="larger than a JPEG"):
        write_image(tmp_path / "a.jpg", line, photo, WriteOptions(format="jpeg"), provenance="test")
    plane = np.broadcast_to(np.float32(0), (30000, 30000, 3))
    with pytest.raises(WriteError, match="larger than a TIFF"):
        write_image(tmp_path / "a.tif", plane, photo, WriteOptions(), provenance="test")
    assert list(tmp_path.iterdir()) == []


def test_an_original_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"original")
    (tmp_path / "link.tif").symlink_to(path)
    image = np.zeros((4, 4, 3), np.float32)
    photo = Photo(paths=(path,), kind="image", base=image)
    for name in ("a.tif", "link.tif"):
        with pytest.raises(WriteError, match="an original"):
            write_image(tmp_path / name, image, photo, WriteOptions(), provenance="test")
    assert path.read_bytes() == b"original"


@pytest.mark.parametrize(
    "options",
    [WriteOptions(format="gif"), WriteOptions(profile="rec2020"), WriteOptions(quality=0)],  # type: ignore[arg-type]
)
def test_options_that_do_not_exist_are_wrong_use(tmp_path: Path, options: WriteOptions) -> None:
    image = np.zeros((4, 4, 3), np.float32)
    with pytest.raises(UsageError, match="there is no"):
        write_image(tmp_path / "a", image, Photo(paths=(), kind="image", base=image), options, provenance="test")


def test_the_note_about_the_program_is_one_line_of_software(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 1), np.float32)
    photo = Photo(paths=(), kind="image", base=image)
    write_image(tmp_path / "a", image, photo, WriteOptions(), provenance="k3dn,\n 12ab", description="left view")
    with Image.open(tmp_path / "a") as read:
        assert read.getexif()[305].startswith("dpdeblur ")
        assert read.getexif()[305].endswith(" (k3dn, 12ab)")
        assert read.getexif()[270] == "left view"


def test_an_alpha_of_another_size_is_our_own_fault() -> None:
    with pytest.raises(AssertionError, match="differ in size"):
        Picture(np.zeros((4, 4, 3), np.float32), np.zeros((4, 5), np.float32), 1, LINEAR_SRGB, LINEAR_SRGB)
