"""LogBERT's rule (Guo et al. 2021) on event keys: masked keys are predicted; those outside the g likeliest are counted.

Every key is masked once, in as many passes as the inverse of the masked share; the score is the share of a sequence's
keys that are missed. The hypersphere term of the paper is left out.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from exchange import padded, take
from torch import nn

LONGEST, WIDTH = 256, 64


class Net(nn.Module):
    """A transformer that sees both sides."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self.keys = nn.Embedding(keys, WIDTH, padding_idx=0)
        self.places = nn.Embedding(LONGEST, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, keys)

    def forward(self, codes: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        """Return the logits of every place."""
        hidden = self.keys(codes) + self.places(torch.arange(codes.shape[1]))
        return self.head(self.body(hidden, src_key_padding_mask=pad))


def main(folder: str) -> None:
    """Train on the fit sequences and count misses in the scored ones."""
    task = take(folder)
    torch.manual_seed(task.told["seed"])
    field = next(iter(task.told["fields"]))
    keys, g, share = task.told["fields"][field] + 3, task.option("g", 6), task.option("masked", 0.5)
    mask = keys - 1
    fit, score = (torch.from_numpy(padded(task.sequences(name), field, LONGEST)) for name in ("fit", "score"))
    net = Net(keys)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(task.option("epochs", 5)):
        for batch in _batches(fit, shuffle=True):
            codes = _cut(fit[batch])
            hidden = (torch.rand(codes.shape) < share) & (codes > 0)
            if not hidden.any():
                continue
            logits = net(codes.masked_fill(hidden, mask), codes == 0)[hidden]
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits, codes[hidden]).backward()
            optimiser.step()
    fitted = time.perf_counter()
    task.finish(_missed(net.eval(), score, mask, g, max(round(1 / share), 1)), fitted)


@torch.no_grad()
def _missed(net: Net, score: torch.Tensor, mask: int, g: int, passes: int) -> np.ndarray:
    misses = np.zeros(len(score))
    for batch in _batches(score, shuffle=False):
        codes = _cut(score[batch])
        turn = torch.randint(passes, codes.shape)
        for k in range(passes):
            hidden = (turn == k) & (codes > 0)
            logits = net(codes.masked_fill(hidden, mask), codes == 0)[..., :mask]
            top = logits.topk(min(g, mask), dim=-1).indices
            missed = hidden & (top != codes[..., None]).all(-1)
            misses[batch.numpy()] += missed.sum(1).numpy()
    return misses / np.maximum((score > 0).sum(1).numpy(), 1)


def _batches(codes: torch.Tensor, *, shuffle: bool) -> list[torch.Tensor]:
    """Return places of sequences of like length, so that little is padding."""
    order = torch.argsort((codes > 0).sum(1), stable=True)
    parts = list(order.split(128))
    return [parts[k] for k in torch.randperm(len(parts))] if shuffle else parts


def _cut(codes: torch.Tensor) -> torch.Tensor:
    return codes[:, : max(int((codes > 0).sum(1).max()), 1)]


if __name__ == "__main__":
    main(sys.argv[1])
