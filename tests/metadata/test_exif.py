"""EXIF in words, against what exiftool-like conventions say of the same bytes."""

from __future__ import annotations

import struct

import pytest

from dpdeblur.containers.directories import ByteOrder, Entry, make_short, make_text
from dpdeblur.metadata.entries import EMPTY_METADATA, Metadata
from dpdeblur.metadata.exif import name_camera, summarise_exif

RATIONAL, SIGNED_RATIONAL = 5, 10


def make_ratio(tag: int, over: int, under: int, order: ByteOrder = "<", kind: int = RATIONAL) -> Entry:
    return Entry(tag, kind, struct.pack(order + ("ii" if kind == SIGNED_RATIONAL else "II"), over, under))


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_exposure_is_told_as_photographers_write_it(order: ByteOrder) -> None:
    metadata = Metadata(
        byte_order=order,
        ifd0=(make_text(0x010F, "Canon"), make_text(0x0110, "Canon EOS R6m2")),
        exif=(
            make_ratio(33434, 1, 250, order),
            make_ratio(33437, 18, 10, order),
            make_short(34855, 800, order),
            make_text(36867, "2024:03:05 11:22:33"),
            make_ratio(37386, 50, 1, order),
            make_text(42036, "RF50mm F1.8 STM"),
        ),
    )
    assert summarise_exif(metadata) == (
        ("Camera", "Canon EOS R6m2"),
        ("Lens", "RF50mm F1.8 STM"),
        ("Focal length", "50 mm"),
        ("Aperture", "f/1.8"),
        ("Exposure", "1/250 s"),
        ("ISO", "800"),
        ("Taken", "2024-03-05 11:22"),
    )


def test_the_makers_name_comes_once_and_before_a_model_without_it() -> None:
    metadata = Metadata(ifd0=(make_text(0x010F, "Google"), make_text(0x0110, "Pixel 4")))
    assert name_camera(metadata) == "Google Pixel 4"


@pytest.mark.parametrize(("over", "under", "shown"), [(13, 10, "1.3 s"), (30, 1, "30 s"), (1, 3, "0.333 s")])
def test_a_long_exposure_is_told_in_seconds(over: int, under: int, shown: str) -> None:
    metadata = Metadata(exif=(make_ratio(33434, over, under),))
    assert summarise_exif(metadata) == (("Exposure", shown),)


@pytest.mark.parametrize(
    "entry",
    [
        make_ratio(33437, 0, 0),
        make_ratio(33437, 4, 0),
        make_ratio(33437, -4, 1, kind=SIGNED_RATIONAL),
        Entry(33437, RATIONAL, b"\1\2"),
        make_text(36867, "    :  :     :  :  "),
        make_text(36867, "yesterday"),
        Entry(34855, RATIONAL, b""),
        make_text(42036, ""),
    ],
)
def test_what_a_camera_does_not_know_is_left_out(entry: Entry) -> None:
    assert summarise_exif(Metadata(exif=(entry,))) == ()


def test_a_file_without_exif_has_nothing_to_tell() -> None:
    assert (name_camera(EMPTY_METADATA), summarise_exif(EMPTY_METADATA)) == (None, ())


def test_places_are_never_told() -> None:
    metadata = Metadata(gps=(make_ratio(2, 48, 1),), exif=(make_short(34855, 100, "<"),))
    assert summarise_exif(metadata) == (("ISO", "100"),)
