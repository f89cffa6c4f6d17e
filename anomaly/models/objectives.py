"""What a model can be trained for, by name."""

from __future__ import annotations

from typing import Literal

from anomaly.models.autoencoder import AutoencoderModel, VariationalAutoencoderModel
from anomaly.models.likelihood import LikelihoodModel
from anomaly.models.next_event import NextEventModel

EventObjective = Literal["next_event", "autoencoder", "variational"]

EVENT_MODELS: dict[EventObjective, type[LikelihoodModel]] = {
    "next_event": NextEventModel,
    "autoencoder": AutoencoderModel,
    "variational": VariationalAutoencoderModel,
}
"""Models that have residuals per event and field."""
