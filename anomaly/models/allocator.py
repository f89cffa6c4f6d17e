"""The C library's way with large blocks of memory while a model trains."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Names of glibc's mallopt(3)."""
_LARGEST = 32 << 20
"""Bytes to which glibc raises its threshold of mapping by itself."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed blocks for the next step, and give them back at the end.

    glibc maps a block of more than 32 MB, such as the logits of a batch, anew each time, and the kernel's filling of
    its pages with zeros takes as long as what is then computed. Elsewhere than on glibc nothing is changed.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    assert libc is not None
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, 1 << 16)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        libc.malloc_trim(0)
