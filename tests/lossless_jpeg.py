"""An encoder of lossless JPEG (process 14, marker SOF3), the compression inside Canon CR2 and Adobe DNG files.

Numpy and the standard library only. Source: ITU-T T.81 (1992), annexes C (Huffman codes), F.1.2.1 (difference
categories) and H (lossless mode). Predictor 1 (the sample to the left; the one above at the start of a row), one
Huffman table per component, fitted to the picture. A frame of 768x512 takes a few hundredths of a second.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LONGEST_CODE_BITS = 16
CATEGORIES = 17


def encode_lossless_jpeg(samples: npt.NDArray[np.uint16], precision: int) -> bytes:
    """Encode samples as one interleaved scan.

    Args:
        samples: (H, W, C) uint16, C components a pixel (1 to 4), each below 2**precision.
        precision: Bits per sample, 2 to 16.

    Returns:
        The stream from SOI to EOI, of even length (a padding byte follows EOI where needed).

    Raises:
        ValueError: The array is empty or not three-dimensional, or a sample needs more bits.
    """
    if samples.ndim != 3 or samples.size == 0 or samples.shape[2] > 4:
        raise ValueError(f"samples must be (H, W, C) with 1 to 4 components, not {samples.shape}")
    if int(samples.max()) >= 1 << precision:
        raise ValueError(f"the sample {int(samples.max())} does not fit in {precision} bits")
    height, width, components = samples.shape
    differences = predict_differences(samples, precision)
    categories = np.frexp(np.abs(differences).astype(np.float64))[1]  # the bit length: 0 -> 0, 1 -> 1, 2..3 -> 2, ...
    extra_bits = np.where(categories == 16, 0, categories)  # -32768, the only one of category 16, has none (H.1.2.2)
    extra = np.where(differences >= 0, differences, differences + (1 << extra_bits) - 1) & ((1 << extra_bits) - 1)

    codes = np.empty(samples.shape, np.uint64)
    code_bits = np.empty(samples.shape, np.int64)
    tables = []
    for component in range(components):
        lengths = fit_code_lengths(np.bincount(categories[..., component].ravel(), minlength=CATEGORIES))
        tables.append(_table_segment(component, lengths))
        values = assign_codes(lengths)
        codes[..., component] = values[categories[..., component]]
        code_bits[..., component] = lengths[categories[..., component]]
    codes = codes << extra_bits.astype(np.uint64) | extra.astype(np.uint64)
    scan = pack_bits(codes.ravel(), (code_bits + extra_bits).ravel())
    scan = np.insert(scan, np.flatnonzero(scan == 0xFF) + 1, 0)  # a data byte of 0xFF is followed by 0x00 (B.1.1.5)

    specification = b"".join(struct.pack(">BBB", i + 1, 0x11, 0) for i in range(components))
    selectors = b"".join(struct.pack(">BB", i + 1, i << 4) for i in range(components))
    stream = b"".join(
        (
            b"\xff\xd8",
            _segment(0xC4, b"".join(tables)),
            _segment(0xC3, struct.pack(">BHHB", precision, height, width, components) + specification),
            _segment(0xDA, bytes([components]) + selectors + b"\x01\x00\x00"),  # predictor 1, no point transform
            scan.tobytes(),
            b"\xff\xd9",
        )
    )
    return stream + b"\0" * (len(stream) % 2)


def predict_differences(samples: npt.NDArray[np.uint16], precision: int) -> npt.NDArray[np.int64]:
    """Return what predictor 1 leaves, (H, W, C), modulo 2**16 in [-32768, 32767] (T.81, H.1.2.1)."""
    values = samples.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (precision - 1)
    return (values - predicted + 32768) % 65536 - 32768


def fit_code_lengths(frequencies: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return Huffman code lengths in bits (0: the symbol does not occur), none above 16 and no code all ones.

    One dummy symbol, rarer than all others, takes the code of all ones, which T.81 (C.2) forbids.
    """
    dummy = len(frequencies)
    counts = {symbol: 2 * int(count) for symbol, count in enumerate(frequencies) if count} | {dummy: 1}
    while True:
        lengths = dict.fromkeys(counts, 0)
        heap = [(count, symbol, (symbol,)) for symbol, count in counts.items()]
        heapq.heapify(heap)
        while len(heap) > 1:
            count0, _, symbols0 = heapq.heappop(heap)
            count1, tie, symbols1 = heapq.heappop(heap)
            for symbol in symbols0 + symbols1:
                lengths[symbol] += 1
            heapq.heappush(heap, (count0 + count1, tie, symbols0 + symbols1))
        if max(lengths.values()) <= LONGEST_CODE_BITS:
            break
        # flatter counts make a shallower tree; the dummy stays the rarest
        counts = {symbol: 1 if symbol == dummy else 2 * (count // 4 + 1) for symbol, count in counts.items()}
    return np.array([lengths.get(symbol, 0) for symbol in range(dummy)], np.int64)


def assign_codes(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return the canonical codes of code lengths: shorter first, then by symbol (T.81, C.2)."""
    codes = np.zeros(len(lengths), np.uint64)
    code = previous = 0
    for symbol in _sort_symbols(lengths):
        code <<= int(lengths[symbol]) - previous
        codes[symbol], previous = code, int(lengths[symbol])
        code += 1
    return codes


def pack_bits(codes: npt.NDArray[np.uint64], bits: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Write codes one after the other, most significant bit first, the last byte filled up with ones.

    Args:
        codes: (N,) uint64, code i in its lowest `bits[i]` bits.
        bits: (N,) int64, 1 to 32.
    """
    ends = np.cumsum(bits)
    starts = ends - bits
    # each code lies in one or two 32-bit words; the codes share no bit, so a sum is a union
    placed = codes << (64 - starts % 32 - bits).astype(np.uint64)
    words = np.zeros(int(ends[-1]) // 32 + 2, np.uint64)
    np.add.at(words, starts // 32, placed >> np.uint64(32))
    np.add.at(words, starts // 32 + 1, placed & np.uint64(0xFFFFFFFF))
    packed = words.astype(">u4").view(np.uint8)[: (int(ends[-1]) + 7) // 8].copy()
    packed[-1] |= (1 << (-int(ends[-1]) % 8)) - 1
    return packed


def _sort_symbols(lengths: npt.NDArray[np.int64]) -> Sequence[int]:
    return sorted(np.flatnonzero(lengths).tolist(), key=lambda symbol: (int(lengths[symbol]), symbol))


def _table_segment(identifier: int, lengths: npt.NDArray[np.int64]) -> bytes:
    counts = np.bincount(lengths[lengths > 0], minlength=LONGEST_CODE_BITS + 1)[1:]
    return bytes([identifier, *counts.tolist(), *_sort_symbols(lengths)])


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
