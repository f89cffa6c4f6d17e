"""A Lightning training of a sequence model: early stopping, checkpoints without pickle, logs, resume.

In: a model, its data, a folder. Out: the model with its best weights, and how the training went.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import polars
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from anomaly.atomic import write_json
from anomaly.base import Progress, silent
from anomaly.errors import ConfigError, SchemaError
from anomaly.events.schema import seconds
from anomaly.models.allocator import freed_memory_kept
from anomaly.models.checkpoint import SafetensorsCheckpointIO
from anomaly.models.lightning import SequenceModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anomaly.models.base import SequenceNetwork
    from anomaly.sequences.datamodule import SequenceDataModule

SMALLEST_GAIN = 0.01
"""Nats per event that an epoch must win on the held-out sequences to count as progress."""

WIDE = 128
"""Width from which on bf16 pays on a CPU; see the benchmark train_precision."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long, where and how exactly to train.

    Attributes
    ----------
    max_epochs, patience : training ends when the held-out loss has not fallen for `patience` epochs
    max_time : after which it ends in any case, or None, see `time_limit`
    precision : "32-true", "bf16-mixed" or "auto"
    accelerator, devices : of the Lightning trainer; with more than one device each has a process of its own, which
        takes its share of every batch, so that the loss is that of one; but for contrastive models, whose crops are
        told from those of the own share alone
    compile : whether kernels of a training step are fused; the first steps then take about a minute
    random_state : seed of weights, dropout and order
    """

    max_epochs: int
    patience: int
    max_time: str | float | None
    precision: str
    accelerator: str
    devices: int
    compile: bool
    random_state: int


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training went.

    Attributes
    ----------
    curve : training and held-out loss of every epoch
    stopped_by_time : whether `max_time` ended it
    best : file of the best weights
    """

    curve: list[dict[str, float]]
    stopped_by_time: bool
    best: str


def train_model(
    model: SequenceNetwork,
    data: SequenceDataModule,
    plan: TrainingPlan,
    folder: Path,
    progress: Progress = silent,
) -> TrainingOutcome:
    """Train `model` in place; a folder of a training that was killed is gone on from, a finished one is only read."""
    finished, last = folder / "finished.json", folder / "last.ckpt"
    if finished.exists():
        outcome = TrainingOutcome(**json.loads(finished.read_text()))
    else:
        with _own_randomness(plan.random_state), _quiet(), freed_memory_kept():
            trainer = _trainer(plan, model, folder, progress)
            task = SequenceModel(model, fused=plan.compile)
            trainer.fit(task, datamodule=data, ckpt_path=str(last) if last.exists() else None)
        outcome = _outcome(folder)
        write_json(finished, asdict(outcome))
    weights = SafetensorsCheckpointIO().load_checkpoint(folder / outcome.best)["state_dict"]
    model.load_state_dict(weights)
    model.eval()
    return outcome


def _lightning(**settings: Any) -> pl.Trainer:
    """Return a trainer; what Lightning does not know, or this machine has not, is a matter of the configuration."""
    try:
        return pl.Trainer(**settings)
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {str(error).splitlines()[0]}") from error


def time_limit(text: str | float | None) -> timedelta | None:
    """Return a time that is written as DD:HH:MM:SS, as a duration such as "90s", or as seconds; None for no limit.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if text is None:
        return None
    parts = re.fullmatch(r"(\d+):(\d+):(\d+):(\d+)", str(text))
    try:
        if parts:
            days, hours, minutes, left = map(int, parts.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=left)
        return timedelta(seconds=seconds(text))
    except SchemaError as error:
        raise ConfigError(f"trainer.max_time={text}: expected DD:HH:MM:SS, or such as 90s, 30m, 12h") from error


def _trainer(plan: TrainingPlan, model: SequenceNetwork, folder: Path, progress: Progress) -> pl.Trainer:
    best = ModelCheckpoint(
        dirpath=folder, filename="best", monitor="held_out_loss", save_last=True, enable_version_counter=False
    )
    stop = _Stop("held_out_loss", patience=plan.patience, min_delta=SMALLEST_GAIN)
    # A logger of its own for every start: Lightning's empties the folder that it finds.
    version = f"logs_{len(_logs(folder))}" if _logs(folder) else "logs"
    loggers: list[Any] = [CSVLogger(str(folder), name="", version=version)]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(str(folder), name="", version="tensorboard"))
    return _lightning(
        accelerator=plan.accelerator,
        devices=plan.devices,
        precision=_precision(plan, model),
        max_epochs=plan.max_epochs,
        max_time=time_limit(plan.max_time),
        # A process of its own cannot call back.
        callbacks=[best, stop, _End(folder), *([_Report(progress)] if plan.devices == 1 else [])],
        strategy="auto" if plan.devices == 1 else _Processes(start_method="spawn", broadcast_buffers=False),
        use_distributed_sampler=False,
        logger=loggers,
        plugins=[SafetensorsCheckpointIO()],
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )


def _precision(plan: TrainingPlan, model: SequenceNetwork) -> Any:
    """Choose by what was measured: bf16 pays on a GPU, and at width 128 on a CPU that multiplies it."""
    if plan.precision != "auto":
        return plan.precision
    gpu = torch.cuda.is_available() and plan.accelerator != "cpu"
    wide = int(model.params["width"]) >= WIDE
    return "bf16-mixed" if gpu or (wide and multiplies_bf16()) else "32-true"


def multiplies_bf16() -> bool:
    """Return whether the CPU has instructions for bf16: without them it is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _outcome(folder: Path) -> TrainingOutcome:
    late = bool(json.loads((folder / "ended.json").read_text())["late"])
    best = folder / "best.ckpt"
    return TrainingOutcome(_curve(folder), late, "best.ckpt" if best.exists() else "last.ckpt")


def _curve(folder: Path) -> list[dict[str, float]]:
    """Read the losses of every epoch; of those that a kill had trained again, the latter."""
    parts = [polars.read_csv(path) for path in _logs(folder)]
    if not parts:
        return []
    rows = polars.concat(parts, how="diagonal_relaxed")
    rows = rows.group_by("epoch").agg(polars.all().drop_nulls().last()).sort("epoch")
    return rows.select("epoch", "train_loss", "held_out_loss").to_dicts()


def _logs(folder: Path) -> list[Path]:
    """Return the logs of a training, one of every start, the first one first."""
    return sorted(folder.glob("logs*/metrics.csv"), key=lambda path: (len(path.parent.name), path.parent.name))


class _Stop(EarlyStopping):
    """Early stopping that a resumed training remembers: Lightning forgets that it had stopped."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where patience was already over."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class _End(Callback):
    """Leaves behind how a training ended, and its weights where time ran out before the first epoch was judged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Write both."""
        timers = [c for c in trainer.callbacks if isinstance(c, Timer)]
        remaining = [timer.time_remaining() for timer in timers]
        if not (self.folder / "best.ckpt").exists():
            trainer.save_checkpoint(self.folder / "last.ckpt")
        if trainer.is_global_zero:
            late = any(left is not None and left <= 0 for left in remaining)
            write_json(self.folder / "ended.json", {"late": late})


class _Processes(DDPStrategy):
    """One process per device, as silent as this one."""

    def setup_environment(self) -> None:
        """Silence a process before it tells that it has begun."""
        warnings.simplefilter("ignore")
        for log in _loggers():
            log.setLevel(logging.ERROR)
        super().setup_environment()


class _Report(Callback):
    """Tells the caller how many steps of how many are done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report the step."""
        steps = trainer.estimated_stepping_batches
        self.progress("training", trainer.global_step, int(steps) if np.isfinite(steps) else 0)


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Give the block a seeded torch generator and put the caller's back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice: worker counts and log intervals do not concern whoever runs this."""
    loggers = _loggers()
    levels = [log.level for log in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in loggers:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(loggers, levels, strict=True):
                log.setLevel(level)


def _loggers() -> list[logging.Logger]:
    names = ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric")
    return [logging.getLogger(name) for name in names]
