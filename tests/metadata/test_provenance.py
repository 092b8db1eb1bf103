"""Notes: what a result says of itself is read back from every format, and from nobody else's files."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dpdeblur.metadata.provenance import Note, are_unchanged, fingerprint_files, read_note
from dpdeblur.photo import Photo
from dpdeblur.writers import WriteOptions, write_image


@pytest.mark.parametrize("name", ["tiff", "png", "jpeg"])
@pytest.mark.parametrize(
    "note",
    [
        Note("run", "network k3dn (x; y), strength 1"),
        Note("run crop=1,2,3,4", "é"),
        Note("split srgb", "left of a; input b).cr2", "0123456789abcdef-fedcba9876543210"),
    ],
)
def test_a_note_comes_back_from_every_format(name: str, note: Note, tmp_path: Path) -> None:
    image = np.full((4, 4, 3), 0.5, np.float32)
    options = WriteOptions(format=name)  # type: ignore[arg-type]  # a parameter's type is str
    write_image(tmp_path / "a", image, Photo((Path("a.cr2"),), "raw", image), options, provenance=str(note))
    assert read_note(tmp_path / "a") == note


def test_other_programs_files_have_no_note(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.uint16), software="dpdeblur-like 1.0 (run; x)")
    (tmp_path / "b.tif").write_bytes(b"dpdeblur 0.1.0 (run; x)")
    assert [read_note(tmp_path / name) for name in ("a.tif", "b.tif")] == [None, None]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_a_result_that_another_program_saved_is_no_longer_ours(tmp_path: Path) -> None:
    image = np.full((4, 4, 3), 0.5, np.float32)
    path = tmp_path / "a.tif"
    write_image(path, image, Photo((Path("a.cr2"),), "raw", image), WriteOptions(), provenance=str(Note("run", "x")))
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-Software=Editor 5", path], check=True)
    assert read_note(path) is None


def test_notes_tell_restored_photos_parts_and_views_apart() -> None:
    notes = [Note(marker, "x") for marker in ("run", "run crop=0,0,1,1", "split srgb")]
    assert [note.is_restored for note in notes] == [True, True, False]
    assert [note.is_preview for note in notes] == [False, True, False]


def test_a_note_names_the_weights() -> None:
    assert Note("run", "network k3dn, weights 0123456789ab, strength 1").weights == "0123456789ab"
    assert Note("split srgb", "left of a.cr2").weights is None


def test_fingerprints_tell_contents_apart_and_copies_not(tmp_path: Path) -> None:
    paths = tmp_path / "a", tmp_path / "b"
    for path in paths:
        path.write_bytes(path.name.encode())
    fingerprint = fingerprint_files(paths)
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{16}", fingerprint)
    assert are_unchanged(paths, fingerprint)
    assert not are_unchanged(paths[::-1], fingerprint)
    os.utime(paths[1], ns=(1, 1))
    assert are_unchanged(paths, fingerprint)
    paths[1].write_bytes(b"c")
    assert not are_unchanged(paths, fingerprint)
    assert not are_unchanged(paths, "")
    # the second half is BLAKE2b of both contents' BLAKE2b, as RFC 7693 has it
    inner = b"".join(hashlib.new("blake2b512", content).digest() for content in (b"a", b"b"))
    assert fingerprint.split("-")[1] == hashlib.blake2b(inner, digest_size=8).hexdigest()
