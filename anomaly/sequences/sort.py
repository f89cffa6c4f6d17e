"""Order rows by many keys with one primitive: `np.sort` of packed integers.

A key and the row's place share one int64, the place in the low bits, so that sorting the integers sorts the rows,
stably and several times faster than an index sort. Keys that do not fit together are sorted digit by digit, the least
significant first (a radix sort whose digits are some 40 bits wide).

Shapes: T rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Integers: TypeAlias = "NDArray[np.int64] | NDArray[np.int32]"

_UNITS = (1_000_000, 1_000)


def sort_rows(keys: Sequence[Integers], n_rows: int) -> NDArray[np.int64]:
    """Return (T,) places that sort the rows by keys of (T,) integers, the most significant first, ties by row."""
    keys = [key for key in keys if len(key)]
    # Ties keep the order of the rows: a last key that rises with the rows orders nothing.
    while keys and bool(np.all(keys[-1][1:] >= keys[-1][:-1])):
        keys = keys[:-1]
    order: NDArray[np.int64] | None = None
    row_bits = max(n_rows - 1, 1).bit_length()
    for digit in _digits([_Ruler(key) for key in keys], 63 - row_bits):
        order = _sort_digit(digit, order, n_rows, row_bits)
    return np.arange(n_rows) if order is None else order


class _Ruler:
    """A key measured from its smallest value in its coarsest unit."""

    def __init__(self, key: Integers) -> None:
        self.key = key
        self.low = int(key.min())
        self.unit = 1
        span = int(key.max()) - self.low
        if span.bit_length() > 24:
            # Times in microseconds are often whole seconds, and then 20 bits shorter.
            self.unit = next((u for u in _UNITS if not _remainder(key, self.low, u)), 1)
        self.bits = (span // self.unit).bit_length()

    def piece(self, shift: int, bits: int) -> NDArray[np.int64]:
        """Return (T,) some bits of the key."""
        # Wrapping subtraction in uint64 is right for every span.
        part = self.key.astype(np.uint64) - np.uint64(self.low % (1 << 64))
        if self.unit > 1:
            part //= np.uint64(self.unit)
        if shift:
            part >>= np.uint64(shift)
        if shift + bits < self.bits:
            part &= np.uint64((1 << bits) - 1)
        return part.view(np.int64)


def _remainder(key: Integers, low: int, unit: int) -> bool:
    """Return whether some value is no whole number of units above the lowest; a short look answers most often."""
    return any(bool((np.mod(part, unit) != low % unit).any()) for part in (key[:1000], key))


def _digits(rulers: list[_Ruler], width: int) -> list[list[tuple[_Ruler, int, int]]]:
    """Cut the keys, laid end to end, into digits: lists of (key, shift, bits), the least significant first."""
    digits: list[list[tuple[_Ruler, int, int]]] = []
    free = 0
    for ruler in reversed(rulers):
        done = 0
        while done < ruler.bits:
            if not free:
                digits.append([])
                free = width
            take = min(free, ruler.bits - done)
            digits[-1].append((ruler, done, take))
            done, free = done + take, free - take
    return digits


def _sort_digit(
    digit: list[tuple[_Ruler, int, int]], order: NDArray[np.int64] | None, n_rows: int, row_bits: int
) -> NDArray[np.int64]:
    packed = np.zeros(n_rows, np.int64)
    position = 0
    for ruler, shift, bits in digit:
        packed |= ruler.piece(shift, bits) << position
        position += bits
    if order is not None:
        packed = packed[order]
    if bool(np.all(packed[1:] >= packed[:-1])):
        return np.arange(n_rows) if order is None else order
    packed <<= row_bits
    packed |= np.arange(n_rows)
    packed.sort()
    packed &= (1 << row_bits) - 1
    return packed if order is None else order[packed]
