"""The lossless JPEG encoder against another program's decoder and closed forms."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lossless_jpeg import encode_lossless_jpeg, fit_code_lengths


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.integers(2, 16), st.integers(0, 99), st.floats(0, 1)
)
def test_another_decoder_returns_the_samples(h: int, w: int, c: int, precision: int, seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    largest = (1 << precision) - 1
    samples = np.rint(largest * (0.5 + spread * (random.random((h, w, c)) - 0.5))).astype(np.uint16)
    decoded = imagecodecs.jpegsof3_decode(encode_lossless_jpeg(samples, precision))
    np.testing.assert_array_equal(decoded.reshape(samples.shape), samples)


def test_another_decoder_returns_the_largest_jumps() -> None:
    samples = np.array([[0, 65535, 0, 32768], [65535, 0, 32768, 0]], np.uint16)[..., None]
    np.testing.assert_array_equal(imagecodecs.jpegsof3_decode(encode_lossless_jpeg(samples, 16)), samples[..., 0])


def test_a_middle_gray_sample_is_one_zero_bit_filled_up_with_ones() -> None:
    stream = encode_lossless_jpeg(np.full((1, 1, 1), 1 << 13, np.uint16), 14)
    assert stream.rstrip(b"\0").endswith(b"\x01\x00\x00\x7f\xff\xd9")


def test_huffman_codes_leave_only_the_code_of_all_ones_free() -> None:
    # Fibonacci frequencies make the deepest tree: 17 symbols and the dummy would need 17 bits without the limit
    frequencies = [1, 1]
    while len(frequencies) < 17:
        frequencies.append(frequencies[-1] + frequencies[-2])
    lengths = fit_code_lengths(np.array(frequencies))
    assert 0 < lengths.min() and lengths.max() <= 16
    assert sum(2.0 ** -int(length) for length in lengths) == 1 - 2.0 ** -int(lengths.max())  # Kraft's sum


def test_code_lengths_are_within_one_bit_of_the_entropy() -> None:
    frequencies = np.array([5, 90, 300, 1000, 4000, 9000, 7000, 2500, 600, 0, 0, 0, 0, 0, 0, 0, 0])
    share = frequencies[frequencies > 0] / frequencies.sum()
    mean_bits = (fit_code_lengths(frequencies) * frequencies).sum() / frequencies.sum()
    assert mean_bits < -(share * np.log2(share)).sum() + 1


def test_a_sample_too_large_for_the_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="16384 does not fit in 14 bits"):
        encode_lossless_jpeg(np.full((2, 2, 1), 16384, np.uint16), 14)
