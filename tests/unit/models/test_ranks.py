"""Several processes train the model that one process trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anomaly.models.ranks import over_ranks, world_size
from anomaly.models.training import TrainingPlan, train_model
from anomaly.sequences.datamodule import SequenceDataModule

Make = Callable[..., Any]


def test_one_process_has_nothing_to_sum() -> None:
    assert world_size() == 1
    assert over_ranks(torch.tensor(3.0)) == 3 and over_ranks(torch.tensor(3.0), "max") == 3


@pytest.mark.slow
def test_two_processes_reach_the_loss_of_one(store_of: Make, model_of: Make, tmp_path: Path) -> None:
    train, held_out = store_of(np.arange(4, 28)), store_of(np.full(5, 12), seed=1)
    plan = {"max_epochs": 3, "patience": 9, "max_time": None, "precision": "32-true", "accelerator": "cpu"}
    found = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        # Draws depend on how a batch is shared out, so that there are none.
        model = model_of(train, entity_dropout=0.0, trim=0.1).train()
        data = SequenceDataModule(train=train, held_out=held_out, tokens=96, longest=10)
        outcome = train_model(model, data, TrainingPlan(**plan, devices=devices, compile=False, random_state=0), folder)  # type: ignore[arg-type]
        found.append((outcome, model))
    (one, alone), (two, together) = found
    assert len(two.curve) == 3 and not two.stopped_by_time and two.best == "best.ckpt"
    for expected, row in zip(one.curve, two.curve, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    assert torch.equal(alone.kept_S, together.kept_S)
    for name, value in alone.named_parameters():
        torch.testing.assert_close(together.state_dict()[name], value, atol=2e-3, rtol=2e-3, msg=name)
