"""Sums over the processes that train one model together; with one process there is nothing to sum."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, distributed


def world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def over_ranks(x: Tensor, how: Literal["sum", "max"] = "sum") -> Tensor:
    """Return the sum, or the maximum, of a tensor over all processes."""
    if world_size() == 1:
        return x
    total = x.clone()
    distributed.all_reduce(total, op=distributed.ReduceOp.MAX if how == "max" else distributed.ReduceOp.SUM)
    return total
