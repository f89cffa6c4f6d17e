"""Length-sorted batches under a token budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


DIGITS = 4
"""Leading binary digits of a size that recurs: at most an eighth is added, a twenty-fourth on average."""


def recurring(sizes: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return the next of those few sizes that end in binary zeros, where `anomaly.nn.shapes` says why."""
    step = 1 << np.maximum(np.frexp(sizes)[1] - DIGITS, 0).astype(np.int64)
    found: NDArray[np.int64] = -(-np.asarray(sizes) // step) * step
    return found


def token_batches(
    lengths: NDArray[np.int64], tokens: int, rng: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Group sequences of similar length so that each padded batch holds about `tokens` events.

    Parameters
    ----------
    lengths : (n,) events per sequence
    tokens : budget of one batch, padding included; a longer sequence is a batch of its own
    rng : breaks ties among equal lengths and shuffles the batches; None keeps the order of length, longest first

    Returns
    -------
    list of index arrays that together hold each of the n sequences once
    """
    if not len(lengths):
        return []
    noise = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = np.lexsort((noise, -lengths))
    batches, start = [], 0
    sorted_lengths = np.maximum(lengths[order], 1)
    while start < len(order):
        # The first sequence of a batch is its longest, so it alone decides the padded size.
        stop = start + max(tokens // int(sorted_lengths[start]), 1)
        batches.append(order[start:stop])
        start = stop
    if rng is not None:
        rng.shuffle(batches)
    return batches


def share(parts: list[Any], rank: int, world: int) -> list[Any]:
    """Return every `world`-th part; all of them where there are too few for every rank to have one.

    What several ranks hold counts several times in sums over ranks, above the line and below it.
    """
    return parts[rank::world] if len(parts) >= world else parts


class TokenBudgetSampler(Sampler[list[int]]):
    """Yield batches of indices; the batches are a pure function of the seed and the epoch.

    Parameters
    ----------
    ranks : of several processes that train one model this one's place, and their number; each takes its share of
        every batch
    """

    def __init__(self, lengths: NDArray[np.int64], tokens: int, seed: int, ranks: tuple[int, int] = (0, 1)) -> None:
        self.lengths = lengths
        self.tokens = tokens
        self.seed = seed
        self.ranks = ranks
        self.epoch = 0
        self._size = len(token_batches(lengths, tokens))

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose batches come next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[list[int]]:
        # A generator, so that the epoch is read at the first batch: a resumed training names it after `iter`.
        rng = np.random.default_rng([self.seed, self.epoch])
        yield from (share(batch.tolist(), *self.ranks) for batch in token_batches(self.lengths, self.tokens, rng))
