"""A sequence model as Lightning trains it; scoring needs its network alone, and is spared the import.

Shapes: N sequences of a batch, H held-out sequences.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from anomaly.models.likelihood import LikelihoodModel
from anomaly.models.ranks import over_ranks, world_size

if TYPE_CHECKING:
    from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig

    from anomaly.models.base import SequenceNetwork
    from anomaly.nn.residuals import Residuals
    from anomaly.sequences.batch import SequenceBatch

LARGEST_GRADIENT = 1.0
"""Norm beyond which gradients are scaled down."""


class SequenceModel(pl.LightningModule):
    """A network that can be trained: its steps, its held-out loss, its optimiser; its weights are all that it holds.

    Parameters
    ----------
    network : what is predicted and how, such as `NextEventModel`
    fused : whether the kernels of what a step trains on are compiled into few; sizes of batches are no constants
    """

    def __init__(self, network: SequenceNetwork, *, fused: bool = False) -> None:
        super().__init__()
        self.network = network
        self.fused = fused

    def residuals(self, batch: SequenceBatch) -> Residuals:
        """Return what the network says of the judged events.

        Raises
        ------
        TypeError
            If it is a network for embeddings alone.
        """
        if not isinstance(self.network, LikelihoodModel):
            raise TypeError(f"{type(self.network).__name__} yields embeddings alone")
        return self.network.residuals(batch)

    def embed(self, batch: SequenceBatch) -> Tensor:
        """Return (N, D), one vector per sequence."""
        return self.network.embed(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the network's weights under their own names."""
        checkpoint["state_dict"] = self.network.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Find them again."""
        checkpoint["state_dict"] = {f"network.{name}": weight for name, weight in checkpoint["state_dict"].items()}

    def on_train_start(self) -> None:
        """Show the network its first batches."""
        trainer: Any = self.trainer  # Lightning attaches the data without a type.
        batches = trainer.datamodule.train_dataloader()
        self.network.begin_training(batch.to(self.device) for batch in batches)
        if self.fused:
            vars(self.network)["losses_to_train_on"] = torch.compile(self.network.losses_to_train_on, dynamic=True)

    def on_train_end(self) -> None:
        """Leave the network as it was found."""
        vars(self.network).pop("losses_to_train_on", None)

    def on_train_epoch_start(self) -> None:
        """Trim by the last epoch's losses."""
        self.network.begin_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: SequenceBatch, batch_idx: int) -> None:
        """Seed the epoch by its number, so that a resumed training draws what an undisturbed one draws."""
        # Not before the first batch: a loader draws a number when it starts, and a resumed one starts earlier.
        if batch_idx == 0:
            seed = int(self.network.params["random_state"]) * 100_003 + self.current_epoch
            torch.manual_seed(seed + 1_000_003 * self.global_rank)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        """Return the mean loss over the sequences that are kept; over all ranks, where there are several."""
        # Ranks average their gradients, and this is a rank's part of the sum.
        return self.network.training_loss(batch) * world_size()

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of what was trained on; to log each step's is to wait for the device at each."""
        self.log("train_loss", self.network.epoch_loss())

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's held-out losses."""
        self._held_out: list[tuple[Tensor, Tensor, Tensor]] = []

    def validation_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        """Keep the held-out loss of every sequence."""
        self._held_out.append((batch.index_N, *self.network.sequence_losses(batch)))

    def on_validation_epoch_end(self) -> None:
        """Log the held-out loss, trimmed as the training's is; it stops the training early."""
        index, loss, weight = (torch.cat(parts) for parts in zip(*self._held_out, strict=True))
        size = int(over_ranks(index.max() + 1, "max"))
        loss_H, weight_H = (
            over_ranks(x.new_zeros(size).index_add(0, index, x)) for x in (loss.float(), weight.float())
        )
        seen_H = weight_H > 0
        loss_H, weight_H = loss_H[seen_H], weight_H[seen_H]
        kept_H = self.network.within_trim(loss_H / weight_H)
        self.log("held_out_loss", (kept_H * loss_H).sum() / (kept_H * weight_H).sum().clamp(min=1), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a short warm-up and a cosine decay over all planned steps."""
        optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=float(self.network.params["learning_rate"]),
            weight_decay=float(self.network.params["weight_decay"]),
            fused=True,
        )
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warm = min(100, max(steps // 10, 1))

        def rate(step: int) -> float:
            return min((step + 1) / warm, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, *args: Any, **options: Any) -> None:
        """Scale large gradients down; Lightning's own way refuses the fused optimiser."""
        nn.utils.clip_grad_norm_(self.parameters(), LARGEST_GRADIENT)
