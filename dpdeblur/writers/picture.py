"""The picture as it is stored: upright, in the file's colour space, rounded once."""

from __future__ import annotations

import collections
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from dpdeblur.colour.spaces import ColourSpace
from dpdeblur.errors import WriteError
from dpdeblur.photo import Image

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_STRIP_BYTES = 1 << 20
#: Profiles round their primaries to 16 binary places, each program in its own way: what differs by less is the same.
#: Converted all the same, a black beside a bright value would leave black, where tone curves are steepest.
_SAME_PRIMARIES = 5e-4
_THREADS = min(4, os.cpu_count() or 1)


def orient_pixels(image: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """Turn an image upright, without a copy.

    Args:
        image: (H, W) or (H, W, C), as on the sensor.
        orientation: EXIF Orientation, 1 to 8 (Exif 2.32, 4.6.4.A): which sides row 0 and column 0 of the image are.

    Returns:
        A view: (H, W, ...) for 1 to 4, (W, H, ...) for 5 to 8.
    """
    if orientation >= 5:  # row 0 is a side: swap rows and columns, then mirror what is still mirrored
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


class Picture:
    """A linear image, turned into stored samples strip by strip, so that no second copy of it is made.

    Attributes:
        width: Of the upright picture.
        height: Of the upright picture.
        is_gray: Whether it has one channel of colour.
        has_alpha: Whether an alpha channel follows the colour.
        space: The colour space of the file.
        icc: The profile to embed, or None where the space has none for this kind of picture.
    """

    def __init__(
        self,
        image_linear: Image,
        alpha: Image | None,
        orientation: int,
        source_space: ColourSpace,
        space: ColourSpace,
    ) -> None:
        """Look at an image; nothing is computed yet.

        Args:
            image_linear: (H, W, C) float32, C = 1 or 3, linear light in `source_space`, as on the sensor.
            alpha: (H, W) float32 in [0, 1], or None.
            orientation: EXIF Orientation, 1 to 8.
            source_space: The colour space of `image_linear`.
            space: The colour space of the file.
        """
        assert image_linear.ndim == 3 and image_linear.shape[2] in (1, 3), image_linear.shape
        assert alpha is None or alpha.shape == image_linear.shape[:2], "alpha and picture differ in size"
        self._image = orient_pixels(image_linear, orientation)
        self._alpha = None if alpha is None else orient_pixels(alpha, orientation)
        self.height: int = self._image.shape[0]
        self.width: int = self._image.shape[1]
        self.is_gray = image_linear.shape[2] == 1
        self.has_alpha = alpha is not None
        self.space = space
        self.icc = space.gray_icc if self.is_gray else space.icc
        self._matrix: npt.NDArray[np.float32] | None = None
        matrix = np.linalg.solve(space.to_linear_srgb, source_space.to_linear_srgb)
        if not self.is_gray and np.abs(matrix - np.eye(3)).max() > _SAME_PRIMARIES:
            self._matrix = matrix.astype(np.float32)

    @property
    def samples_per_pixel(self) -> int:
        """1 or 3 for the colour, and one for alpha."""
        return (1 if self.is_gray else 3) + self.has_alpha

    @property
    def rows_per_strip(self) -> int:
        """Rows that make about a megabyte of 16-bit samples: few strips, and a buffer that fits a cache."""
        return max(1, min(self.height, _STRIP_BYTES // (2 * self.width * self.samples_per_pixel)))

    def quantise_rows(self, start: int, stop: int, *, bits: int, alpha: bool = True) -> Samples:
        """Return rows as stored samples.

        Args:
            start: The first row.
            stop: The row behind the last.
            bits: 8 or 16 per sample.
            alpha: Whether to append the alpha channel, where there is one.

        Returns:
            (stop - start, W, samples) uint8 or uint16, contiguous, native byte order, RGB[A] or gray[A].

        Raises:
            WriteError: A value is not a finite number.
        """
        linear = np.ascontiguousarray(self._image[start:stop])
        if not np.isfinite(linear).all():
            raise WriteError("the result holds values that are not numbers", remedy="run again with --precision fp32")
        if self._matrix is not None:
            linear = linear @ self._matrix.T
        peak = 2**bits - 1
        dtype = np.uint8 if bits == 8 else np.uint16
        samples = np.empty((stop - start, self.width, self.samples_per_pixel if alpha else linear.shape[2]), dtype)
        samples[..., : linear.shape[2]] = _round(self.space.encode(linear), peak)
        if alpha and self._alpha is not None:
            samples[..., -1] = _round(self._alpha[start:stop], peak)
        return samples

    def map_strips(self, job: Callable[[int, int], bytes]) -> Iterator[bytes]:
        """Do a job for every strip on a few threads.

        Args:
            job: Takes the first row and the row behind the last, and returns what to write.

        Yields:
            What the jobs returned, in order. At most a few strips are held at once.
        """
        starts = range(0, self.height, self.rows_per_strip)
        strips = ((start, min(start + self.rows_per_strip, self.height)) for start in starts)
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from _map_ahead(pool, job, strips)


def _round(encoded: npt.NDArray[np.float32], peak: int) -> npt.NDArray[np.float32]:
    """Return whole numbers from 0 to `peak`: the only rounding on a result's way."""
    scaled = encoded * np.float32(peak)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, 0, peak, out=scaled)


def _map_ahead(
    pool: ThreadPoolExecutor, job: Callable[[int, int], bytes], strips: Iterable[tuple[int, int]]
) -> Iterator[bytes]:
    waiting: collections.deque[Future[bytes]] = collections.deque()
    try:
        for strip in strips:
            waiting.append(pool.submit(job, *strip))
            if len(waiting) > 2 * _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def deflate(data: bytes, *, is_compressed: bool = True, is_piece: bool = False) -> bytes:
    """Pack differences of samples by zlib.

    Differences of 16-bit photographs hold next to no repeated strings, only an uneven share of byte values and runs of
    zeros. So zlib is told to look for runs only: on a photograph of 21 MB that took a third of the time of an ordinary
    level 1 (0.13 instead of 0.41 s) and the result was 2 % smaller.

    Args:
        data: What to pack.
        is_compressed: Whether to compress at all.
        is_piece: Whether the result is a piece of a raw deflate stream that goes on, instead of a whole zlib stream.
    """
    window = -zlib.MAX_WBITS if is_piece else zlib.MAX_WBITS
    packer = zlib.compressobj(int(is_compressed), zlib.DEFLATED, window, 9, zlib.Z_RLE)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH if is_piece else zlib.Z_FINISH)
