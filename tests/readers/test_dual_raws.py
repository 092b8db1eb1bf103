"""Dual-pixel raws: frames, views, levels. The scene that the captures were made from is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rawpy
from captures import (
    draw_views,
    dual_frames,
    mosaic_from_linear,
    truncate_file,
    write_dual_cr2,
    write_dual_dng,
    write_single_cr2,
)
from mosaics import Frame, Scene

from dpdeblur.errors import NoSecondViewError, ReadError
from dpdeblur.photo import Photo
from dpdeblur.readers import Capture, Probe, ReadOptions, probe_photo, read_mosaic, read_photo
from dpdeblur.readers.develop import open_raw

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # IEC 61966-2-1


def read(path: Path, **options: bool) -> Photo:
    return read_photo(Capture((path,)), ReadOptions(**options))


def views_of(photo: Photo) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    assert photo.left is not None and photo.right is not None
    return photo.left, photo.right


def measure_luminance(image: npt.NDArray[np.float32]) -> float:
    return float((image @ LUMINANCE).mean())


@pytest.fixture(params=["dual_cr2", "dual_dng"])
def dual(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def test_right_mosaic_is_frame_zero_minus_frame_one_to_the_last_bit(dual: Path, scene: Scene) -> None:
    mosaic = read_mosaic(Capture((dual,)))
    np.testing.assert_array_equal(mosaic.left, scene.frame1)
    np.testing.assert_array_equal(mosaic.right, scene.frame0.astype(int) - 512 - (scene.frame1.astype(int) - 512) + 512)
    assert (mosaic.left.dtype, mosaic.right.dtype) == (np.uint16, np.uint16)
    assert (mosaic.black_level, mosaic.pattern) == ((512, 512, 512, 512), "RGGB")


def test_each_frame_has_its_own_black_per_channel(tmp_path: Path, scene: Scene) -> None:
    black0, black1 = (520, 515, 517, 511), (505, 500, 503, 508)  # R, G1, G2, B
    frames = dual_frames(scene.left, scene.right, black=black0, black1=black1)
    path = tmp_path / "a.dng"
    write_dual_dng(path, *frames, black=black0, black1=black1)
    mosaic = read_mosaic(Capture((path,)))
    assert mosaic.black_level == (505, 500, 508, 503)  # red, green, blue, second green
    tiles = [np.tile(np.reshape(black, (2, 2)), (32, 48)) for black in (black0, black1)]
    expected = (frames[0].astype(int) - tiles[0]) - (frames[1].astype(int) - tiles[1]) + tiles[1]
    np.testing.assert_array_equal(mosaic.right, expected)
    left, right = views_of(read(path))
    assert measure_luminance(left) == pytest.approx(measure_luminance(scene.left), rel=2e-3)
    assert measure_luminance(right) == pytest.approx(measure_luminance(scene.right), rel=2e-3)


def test_the_right_mosaic_is_signed_before_it_is_clipped_at_zero(tmp_path: Path) -> None:
    frame0 = np.full((32, 32), 600, np.uint16)
    frame1 = np.full((32, 32), 560, np.uint16)
    frame1[0, 0], frame1[0, 1] = 620, 1200
    path = tmp_path / "a.dng"
    write_dual_dng(path, frame0, frame1)
    right = read_mosaic(Capture((path,))).right
    assert (right[0, 0], right[0, 1], right[1, 1]) == (600 - 620 + 512, 0, 600 - 560 + 512)


def test_the_second_frame_is_not_the_first_one_again(dual: Path, scene: Scene) -> None:
    with open_raw(dual, shot=1) as raw:
        np.testing.assert_array_equal(raw.raw_image_visible, scene.frame1)
        assert not np.array_equal(raw.raw_image_visible, scene.frame0)


def test_views_are_the_scenes_own_at_frame_zeros_exposure(dual: Path, scene: Scene) -> None:
    photo = read(dual)
    left, right = views_of(photo)
    for developed, original in ((left, scene.left), (right, scene.right), (photo.base, (scene.left + scene.right) / 2)):
        assert developed.dtype == np.float32 and developed.shape == original.shape
        assert measure_luminance(developed) == pytest.approx(measure_luminance(original), rel=5e-3)
        assert np.abs(developed - original)[4:-4, 4:-4].mean() < 0.01
    shift = scene.left - scene.right
    assert np.sum((left - right) * shift) == pytest.approx(np.sum(shift * shift), rel=0.1)


def test_a_dual_raw_is_named_by_its_container(dual_cr2: Path, dual_dng: Path) -> None:
    assert (read(dual_cr2).kind, read(dual_dng).kind) == ("canon", "dng")


def test_mean_of_the_views_is_frame_zero_where_nothing_clips(dual: Path) -> None:
    photo = read(dual)
    left, right = views_of(photo)
    # AHD chooses its direction for each picture, so single pixels differ, their mean does not
    np.testing.assert_allclose(((left + right) / 2).mean((0, 1)), photo.base.mean((0, 1)), rtol=1e-3)


def test_swapped_views_are_the_same_pictures_changed_over(dual_cr2: Path) -> None:
    left, right = views_of(read(dual_cr2))
    swapped_left, swapped_right = views_of(read(dual_cr2, swap_views=True))
    np.testing.assert_array_equal(swapped_left, right)
    np.testing.assert_array_equal(swapped_right, left)


def test_views_of_a_rotated_raw_are_left_and_right_of_the_sensor(rotated_cr2: Path, dual_cr2: Path) -> None:
    rotated, upright = read(rotated_cr2), read(dual_cr2)
    assert (rotated.orientation, upright.orientation) == (6, 1)
    assert rotated.base.shape == upright.base.shape
    for mine, other in zip(views_of(rotated), views_of(upright), strict=True):
        # the masked border gives the demosaic other edges
        np.testing.assert_allclose(mine[8:-8, 8:-8], other[8:-8, 8:-8], atol=1e-4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_passed_on_unapplied(tmp_path: Path, scene: Scene, orientation: int) -> None:
    path = tmp_path / "a.dng"
    write_dual_dng(path, scene.frame0, scene.frame1, orientation=orientation)
    photo = read(path)
    assert (photo.orientation, photo.base.shape) == (orientation, scene.left.shape)
    assert photo.metadata.orientation == orientation


def test_views_of_a_photo_in_the_dark_keep_frame_zeros_exposure(tmp_path: Path) -> None:
    left, right = draw_views(256, 384)
    frames = dual_frames(left / 100, right / 100, electrons_at_white=20000, read_noise=8, seed=1)
    path = tmp_path / "night.cr2"
    write_dual_cr2(path, *frames)
    photo = read(path)
    assert measure_luminance(photo.base) == pytest.approx(measure_luminance(left) / 100, rel=0.01)
    for view in views_of(photo):
        # noise clipped at black would add 4 % to the right view, which is the noisier one
        assert measure_luminance(view) == pytest.approx(measure_luminance(photo.base), rel=0.01)
    assert photo.base.min() < 0


def test_a_black_photo_is_still_dual_and_black(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (2, 64, 64))
    path = tmp_path / "cap.cr2"
    write_dual_cr2(path, *np.rint(512 + noise).astype(np.uint16))
    photo = read(path)
    assert photo.kind == "canon"
    for image in (*views_of(photo), photo.base):
        assert abs(measure_luminance(image)) < 1e-3


@pytest.fixture(scope="module")
def clipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Frame]:
    """A lamp three times as bright as the sensor can record, with parallax."""
    left, right = draw_views(128, 192)
    rows, columns = np.mgrid[0:128, 0:192]

    def lamp(shift_px: int) -> npt.NDArray[np.float64]:
        distance2 = (rows - 64) ** 2 + (columns - 96 - shift_px) ** 2
        return np.exp(-distance2 / (2 * 20**2))[..., None] * np.array([3.0, 2.5, 2.0])

    frames = dual_frames(left + lamp(3), right + lamp(-3), electrons_at_white=20000, read_noise=2, seed=1)
    path = tmp_path_factory.mktemp("clipped") / "lamp.cr2"
    write_dual_cr2(path, *frames)
    return path, frames[0]


def test_clipped_share_is_counted_and_reported(clipped: tuple[Path, Frame]) -> None:
    path, frame0 = clipped
    photo = read(path)
    share = float((frame0 == 15000).mean())
    assert share > 0.05
    assert photo.clipped_share == share == read_mosaic(Capture((path,))).clipped_share
    assert any(f"{share:.1%}" in warning for warning in photo.warnings)


def test_clipped_highlights_are_white_in_both_views_and_no_holes(clipped: tuple[Path, Frame]) -> None:
    path, frame0 = clipped
    photo = read(path)
    left, right = views_of(photo)
    # photosites around which all is saturated, so that the demosaic mixes nothing else in
    saturated = frame0 == 15000
    core = np.ones_like(saturated)
    for row in range(-4, 5):
        for column in range(-4, 5):
            core &= np.roll(saturated, (row, column), (0, 1))
    assert core.sum() > 100
    for image in (photo.base, left, right):
        np.testing.assert_allclose(image[core], 1, atol=2e-3)
    # as it is, the difference would be a hole: frame 1 is saturated nowhere, and reaches more than the half
    assert (np.clip(2 * (read_mosaic(Capture((path,))).right[core].astype(int) - 512), 0, None) < 11000).any()


def test_an_unclipped_photo_has_a_clipped_share_of_zero_and_no_warning(dual: Path) -> None:
    photo = read(dual)
    assert (photo.clipped_share, photo.warnings) == (0, ())


@pytest.mark.parametrize("name", ["burst_cr2", "burst_dng"])
def test_a_burst_is_its_first_shot_with_a_warning(
    request: pytest.FixtureRequest, name: str, single_cr2: Path, single_dng: Path
) -> None:
    photo = read(request.getfixturevalue(name))
    assert (photo.kind, photo.is_dual, photo.left, photo.right) == ("raw", False, None, None)
    assert len(photo.warnings) == 1 and "burst" in photo.warnings[0]
    single = read(single_cr2 if name == "burst_cr2" else single_dng)
    np.testing.assert_array_equal(photo.base, single.base)


def test_a_darker_shot_of_a_changed_scene_is_not_taken_for_a_photodiode(tmp_path: Path) -> None:
    lamp = np.full((64, 96, 3), 0.05)
    lamp[16:32, 16:48] = 0.8
    path = tmp_path / "bracket.cr2"
    write_dual_cr2(path, mosaic_from_linear(lamp), mosaic_from_linear(lamp[:, ::-1] / 2))
    assert not read(path).is_dual


@pytest.mark.parametrize("name", ["single_cr2", "single_dng", "burst_cr2", "burst_dng", "srgb_tiff"])
def test_a_photo_of_one_view_has_no_mosaic_to_take_apart(request: pytest.FixtureRequest, name: str) -> None:
    with pytest.raises(NoSecondViewError):
        read_mosaic(Capture((request.getfixturevalue(name),)))


def test_a_single_frame_is_an_ordinary_raw(single_cr2: Path, single_dng: Path, scene: Scene) -> None:
    for path in (single_cr2, single_dng):
        photo = read(path)
        assert (photo.kind, photo.is_dual, photo.clipped_share, photo.warnings) == ("raw", False, None, ())
        assert np.abs(photo.base - (scene.left + scene.right) / 2)[4:-4, 4:-4].mean() < 0.01


def test_probes_tell_what_reading_would_find(
    dual_cr2: Path, dual_dng: Path, rotated_cr2: Path, single_cr2: Path, burst_cr2: Path
) -> None:
    camera = "Canon EOS 5D Mark IV"
    assert probe_photo(Capture((dual_cr2,))) == Probe("canon", 96, 64, True, camera)
    assert probe_photo(Capture((dual_dng,))) == Probe("dng", 96, 64, True, camera)
    assert probe_photo(Capture((rotated_cr2,))) == Probe("canon", 96, 64, True, camera)
    assert probe_photo(Capture((single_cr2,))) == Probe("raw", 96, 64, False, camera)
    burst = probe_photo(Capture((burst_cr2,)))
    assert (burst.kind, burst.dual, burst.warnings) == ("raw", False, read(burst_cr2).warnings)


@pytest.mark.parametrize("share", [0.3, 0.65, 0.9, 0.999])
@pytest.mark.parametrize("directories_last", [False, True])
def test_a_cut_dual_raw_is_refused_even_where_its_first_frame_is_whole(
    tmp_path: Path, scene: Scene, share: float, directories_last: bool
) -> None:
    whole, cut = tmp_path / "whole.cr2", tmp_path / "cut.cr2"
    write_dual_cr2(whole, scene.frame0, scene.frame1, raw_directories_last=directories_last)
    truncate_file(whole, cut, share)
    for act in (read_photo, probe_photo, read_mosaic):
        with pytest.raises(ReadError, match=r"cut\.cr2: is cut short.*; copy it again"):
            act(Capture((cut,)))


def test_a_frame_decoded_to_zeros_is_refused(tmp_path: Path, scene: Scene) -> None:
    holed = scene.frame1.copy()
    holed[40:] = 0
    path = tmp_path / "a.dng"
    write_dual_dng(path, scene.frame0, holed)
    with pytest.raises(ReadError, match=r"37\.5% of its picture data are missing"):
        read(path)
    write_single_cr2(tmp_path / "b.cr2", np.zeros((32, 32), np.uint16))
    with pytest.raises(ReadError, match="all zeros"):
        read(tmp_path / "b.cr2")


def test_a_dng_that_announces_no_data_is_refused(tmp_path: Path, dual_dng: Path) -> None:
    content = bytearray(dual_dng.read_bytes())
    entry = content.index(b"\x45\x01\x04\x00\x01\x00\x00\x00")  # TileByteCounts, LONG, one value
    content[entry + 8 : entry + 12] = bytes(4)
    path = tmp_path / "a.dng"
    path.write_bytes(content)
    with pytest.raises(ReadError, match="data are missing"):
        read(path)


def test_negative_colours_survive_and_the_rest_is_libraws_own_srgb(single_cr2: Path) -> None:
    ours = read(single_cr2).base
    with rawpy.imread(str(single_cr2)) as raw:
        theirs = raw.postprocess(
            use_camera_wb=True,
            output_bps=16,
            gamma=(1, 1),
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_sat=15000 - 512,
            user_flip=0,
        )
    inside = ((theirs > 0) & (theirs < 65535)).all(-1)
    np.testing.assert_allclose(ours[inside], theirs[inside] / 65535, atol=6e-5)  # four of LibRaw's truncations
