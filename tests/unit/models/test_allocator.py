"""Large blocks that were freed are taken again, and given back at the end."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from anomaly.models.allocator import freed_memory_kept

BLOCK = 64 << 20


def faults() -> int:
    """Return how many pages a large block costs, the second time that it is made."""
    import resource

    np.ones(BLOCK, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(BLOCK, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does")
def test_freed_blocks_are_taken_again() -> None:
    with freed_memory_kept():
        assert faults() < 10
    assert faults() > 10
