"""Batches from a folder in the DPDD layout."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dpdeblur.errors import ReadError
from dpdeblur.training.recipe import Pair
from dpdeblur.training.sources import FolderSource, MixedSource, find_pairs

PARTS = ("train_l/source", "train_r/source", "train_c/target")


def _write_pairs(folder: Path, count: int = 3, height: int = 20, width: int = 24) -> None:
    """Pictures whose value says which pair, part, row and column it is, in red, red, green and blue."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    for number, part in enumerate(PARTS):
        (folder / part).mkdir(parents=True)
        for pair in range(count):
            planes = [columns * 100, rows * 100, np.full_like(rows, 1000 * (pair + 1) + 100 * number)]
            cv2.imwrite(str(folder / part / f"{pair}.png"), np.stack(planes, -1).astype(np.uint16))


def _open(folder: Path, *, rank: int = 0, processes: int = 1, count: int = 2) -> FolderSource:
    return FolderSource(folder, folder / "kept", count, (8, 12), seed=1, rank=rank, processes=processes, device="cpu")


def _codes(batch: Pair) -> list[torch.Tensor]:
    return [(picture * 65535).round().long() for picture in batch]


def test_crops_of_a_pair_are_cut_at_one_place(tmp_path: Path):
    _write_pairs(tmp_path)
    source = _open(tmp_path)
    for _ in range(5):
        for left, right, sharp in zip(*_codes(source.draw()), strict=True):
            assert left.shape == (3, 8, 12)
            assert torch.equal(left[1:], right[1:]) and torch.equal(left[1:], sharp[1:])
            assert torch.equal(right[0], left[0] + 100) and torch.equal(sharp[0], left[0] + 200)
            assert torch.equal(left[1].diff(dim=0), torch.full((7, 12), 100))


def test_every_pair_comes_once_an_epoch_in_a_new_order(tmp_path: Path):
    _write_pairs(tmp_path, count=8)
    source = _open(tmp_path)
    epochs = []
    for _ in range(3):
        seen = torch.cat([_codes(source.draw())[0][:, 0, 0, 0] for _ in range(4)])
        assert sorted(seen.tolist()) == [1000 * (pair + 1) for pair in range(8)]
        epochs.append(tuple(seen.tolist()))
    assert len(set(epochs)) == 3


def test_a_source_goes_on_where_it_was(tmp_path: Path):
    _write_pairs(tmp_path)
    source = _open(tmp_path)
    for _ in range(3):
        source.draw()
    place = source.describe()
    expected = source.draw()
    again = _open(tmp_path)
    again.restore(place)
    for one, other in zip(again.draw(), expected, strict=True):
        assert torch.equal(one, other)


def test_processes_share_the_samples_of_one(tmp_path: Path):
    _write_pairs(tmp_path)
    alone = _open(tmp_path, count=2)
    shared = [_open(tmp_path, rank=rank, processes=2, count=1) for rank in range(2)]
    for _ in range(4):
        parts = [source.draw().left for source in shared]
        assert torch.equal(torch.cat(parts), alone.draw().left)


def test_eight_bit_files_fill_the_same_range(tmp_path: Path):
    _write_pairs(tmp_path, count=1)
    for part in PARTS:
        cv2.imwrite(str(tmp_path / part / "0.png"), np.full((20, 24, 3), 255, np.uint8))
    assert float(_open(tmp_path).draw().left.min()) == 1


def test_mixed_batches_hold_every_sources_part(tmp_path: Path):
    _write_pairs(tmp_path)
    mixed = MixedSource([_open(tmp_path), _open(tmp_path, count=1)])
    first = mixed.draw()
    assert first.left.shape == (3, 3, 8, 12)
    place = mixed.describe()
    expected = mixed.draw()
    again = MixedSource([_open(tmp_path), _open(tmp_path, count=1)])
    again.restore(place)
    assert torch.equal(again.draw().sharp, expected.sharp)


def test_names_that_differ_are_paired_by_order(tmp_path: Path):
    _write_pairs(tmp_path)
    for number, path in enumerate(sorted((tmp_path / PARTS[2]).iterdir())):
        path.rename(path.with_name(f"target{number}.png"))
    assert [sharp.name for _, _, sharp in find_pairs(tmp_path)] == ["target0.png", "target1.png", "target2.png"]


def test_folders_that_are_no_training_set_are_refused(tmp_path: Path):
    with pytest.raises(ReadError, match="DPDD layout"):
        find_pairs(tmp_path)
    _write_pairs(tmp_path)
    (tmp_path / PARTS[1] / "2.png").unlink()
    with pytest.raises(ReadError, match="3 in train_l/source, 2 in train_r/source"):
        find_pairs(tmp_path)
    (tmp_path / PARTS[1] / "2.png").write_bytes(b"no picture")
    with pytest.raises(ReadError, match="no picture"):
        _open(tmp_path)
    cv2.imwrite(str(tmp_path / PARTS[1] / "2.png"), np.zeros((20, 20, 3), np.uint16))
    with pytest.raises(ReadError, match="not as large"):
        _open(tmp_path)
    with pytest.raises(ReadError, match="fewer than a crop"):
        FolderSource(tmp_path, tmp_path / "kept", 1, (64, 64), seed=1, rank=0, processes=1, device="cpu")
