"""Few shapes for tensors of many sizes.

oneDNN compiles kernels for every shape that it meets and keeps a thousand of them, and a freed block fits best where
one of its size is asked for: with batches of ever other sizes, a training on a CPU grows by gigabytes and spends a
fifth of its time on compiling.

Shapes: T rows, D columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anomaly.sequences.sampler import recurring

if TYPE_CHECKING:
    from collections.abc import Callable


def filled(x: Tensor) -> Tensor:
    """Return x (T, ...) with rows of zeros up to a number that recurs; x itself on a GPU, and where it is compiled."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x
    more = int(recurring(len(x))) - len(x)
    return nn.functional.pad(x, (0, 0) * (x.dim() - 1) + (0, more)) if more else x


def by_rows(layer: Callable[[Tensor], Any], x_TD: Tensor) -> Tensor:
    """Return what a layer that judges each row by itself makes of the rows."""
    found: Tensor = layer(filled(x_TD))[: len(x_TD)]
    return found
