"""DeepLog's rule (Du et al. 2017) on event keys: an LSTM predicts the next key; a key outside the g likeliest is odd.

The score of a sequence is how many of its keys are. The defaults are the paper's: two layers of 64, ten keys of
history, g = 9.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from exchange import padded, take
from torch import nn

LONGEST = 512


class Net(nn.Module):
    """An LSTM over the keys so far."""

    def __init__(self, keys: int, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(keys, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, keys)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the logits of the key after each window."""
        return self.head(self.lstm(self.embedding(windows))[0][:, -1])


def windows_of(codes: np.ndarray, history: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (w, history) keys before each key, (w,) the key, (w,) its sequence; the start is padded with 0."""
    before = np.concatenate([np.zeros((len(codes), history), np.int64), codes], axis=1)
    views = np.lib.stride_tricks.sliding_window_view(before, history, axis=1)[:, : codes.shape[1]]
    rows, columns = np.nonzero(codes)
    return views[rows, columns], codes[rows, columns], rows


def main(folder: str) -> None:
    """Train on the fit sequences and count misses in the scored ones."""
    task = take(folder)
    torch.manual_seed(task.told["seed"])
    field = next(iter(task.told["fields"]))
    keys, history, g = task.told["fields"][field] + 2, task.option("history", 10), task.option("g", 9)
    fit, score = (padded(task.sequences(name), field, LONGEST) for name in ("fit", "score"))
    x, y, _ = windows_of(fit, history)
    rng = np.random.default_rng(task.told["seed"])
    kept = rng.permutation(len(x))[: task.option("windows", 100_000)]
    x, y = torch.from_numpy(np.ascontiguousarray(x[kept])), torch.from_numpy(y[kept])
    net = Net(keys)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(task.option("epochs", 5)):
        for batch in torch.randperm(len(x)).split(1024):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
    fitted = time.perf_counter()
    x, y, rows = windows_of(score, history)
    misses = np.zeros(len(score))
    with torch.no_grad():
        for start in range(0, len(x), 8192):
            logits = net(torch.from_numpy(np.ascontiguousarray(x[start : start + 8192])))
            top = logits.topk(min(g, keys), dim=1).indices.numpy()
            missed = (top != y[start : start + 8192, None]).all(1)
            np.add.at(misses, rows[start : start + 8192], missed)
    task.finish(misses, fitted)


if __name__ == "__main__":
    main(sys.argv[1])
