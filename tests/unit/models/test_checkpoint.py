"""A checkpoint gives back a training bit for bit, and holds nothing that runs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, Timer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from anomaly.errors import ArtifactError
from anomaly.models.checkpoint import SafetensorsCheckpointIO

if TYPE_CHECKING:
    from pathlib import Path


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)
        self.tied = self.net.weight

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self.net(batch[0]).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))]


def train(folder: Path, epochs: int, resume: Path | None = None) -> pl.Trainer:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        data = DataLoader(TensorDataset(torch.randn(8, 3)), batch_size=4)
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            callbacks=[
                ModelCheckpoint(dirpath=folder, filename="best", monitor="loss", save_last=True),
                EarlyStopping("loss"),
                Timer("00:00:05:00"),
            ],
            plugins=[SafetensorsCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Tiny(), data, ckpt_path=str(resume) if resume else None)
    return trainer


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b


def test_every_part_of_a_training_comes_back_bit_for_bit(tmp_path: Path) -> None:
    trainer = train(tmp_path, 2)
    whole = trainer._checkpoint_connector.dump_checkpoint()
    assert whole["optimizer_states"][0]["state"][0]["exp_avg"].abs().sum() > 0
    io = SafetensorsCheckpointIO()
    io.save_checkpoint(whole, tmp_path / "x.ckpt")
    assert_equal(io.load_checkpoint(tmp_path / "x.ckpt"), whole)


def test_a_resumed_training_equals_an_undisturbed_one(tmp_path: Path) -> None:
    straight = train(tmp_path / "a", 4)
    train(tmp_path / "b", 2)
    resumed = train(tmp_path / "b", 4, resume=tmp_path / "b" / "last.ckpt")
    assert_equal(dict(resumed.model.state_dict()), dict(straight.model.state_dict()))
    assert_equal(resumed.optimizers[0].state_dict(), straight.optimizers[0].state_dict())


def test_what_would_need_pickle_is_refused_and_named(tmp_path: Path) -> None:
    io = SafetensorsCheckpointIO()
    with pytest.raises(ArtifactError, match=r"callbacks\.mine\.0 is a builtins\.function"):
        io.save_checkpoint({"callbacks": {"mine": [lambda: 0]}}, tmp_path / "x.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    io = SafetensorsCheckpointIO()
    with pytest.raises(ArtifactError, match="no such checkpoint"):
        io.load_checkpoint(tmp_path / "x.ckpt")
    (tmp_path / "x.ckpt").write_bytes(b"\x80\x04}\x94.")
    with pytest.raises(ArtifactError, match="damaged"):
        io.load_checkpoint(tmp_path / "x.ckpt")
    io.remove_checkpoint(tmp_path / "x.ckpt")
    io.remove_checkpoint(tmp_path / "x.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_one_safetensors_file(tmp_path: Path) -> None:
    train(tmp_path, 1)
    from safetensors import safe_open

    assert {f.name for f in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}
    with safe_open(tmp_path / "last.ckpt", framework="np") as file:
        assert "checkpoint" in file.metadata()
