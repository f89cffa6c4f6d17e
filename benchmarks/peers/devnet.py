"""DevNet as its paper has it (Pang et al. 2019): a network whose scores of labelled anomalies deviate from a prior.

PyOD 3.6.7's own passes prediction and truth to its loss in the wrong order and ranks at random or worse; it is in the
table as ``devnet_pyod``. Here: one hidden layer of 20, batches of half labelled, half unlabelled rows, RMSprop.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from exchange import take
from sklearn.preprocessing import StandardScaler
from torch import nn

MARGIN, BATCH, STEPS = 5.0, 512, 1000


def main(folder: str) -> None:
    """Fit on rows and labels, and score."""
    task = take(folder)
    torch.manual_seed(task.told["seed"])
    labels = task.table("labels") == 1
    scaler = StandardScaler()
    fit = torch.from_numpy(scaler.fit_transform(task.table("fit").astype(float)).astype(np.float32))
    odd, rest = (torch.from_numpy(np.flatnonzero(kept)) for kept in (labels, ~labels))
    net = nn.Sequential(nn.Linear(fit.shape[1], 20), nn.ReLU(), nn.Linear(20, 1))
    optimiser = torch.optim.RMSprop(net.parameters(), lr=1e-3, weight_decay=1e-2)
    truth = torch.arange(BATCH) % 2
    for _ in range(task.option("steps", STEPS)):
        drawn = torch.where(
            truth == 1, odd[torch.randint(len(odd), (BATCH,))], rest[torch.randint(len(rest), (BATCH,))]
        )
        prior = torch.randn(5000)
        deviation = (net(fit[drawn]).squeeze(1) - prior.mean()) / prior.std()
        loss = torch.where(truth == 1, (MARGIN - deviation).clamp(min=0), deviation.abs()).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fitted = time.perf_counter()
    with torch.no_grad():
        score = scaler.transform(task.table("score").astype(float)).astype(np.float32)
        task.finish(net(torch.from_numpy(score)).squeeze(1).numpy(), fitted)


if __name__ == "__main__":
    main(sys.argv[1])
