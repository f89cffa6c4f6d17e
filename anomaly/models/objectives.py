"""What a model can be trained for, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from anomaly.models.autoencoder import AutoencoderModel, VariationalAutoencoderModel
from anomaly.models.contrastive import ContrastiveModel
from anomaly.models.masked import MaskedModel
from anomaly.models.next_event import NextEventModel
from anomaly.models.one_class import OneClassModel

if TYPE_CHECKING:
    from anomaly.models.likelihood import LikelihoodModel

EventObjective = Literal["next_event", "autoencoder", "variational", "masked"]
EmbeddingObjective = Literal["contrastive", "one_class"]

EVENT_MODELS: dict[EventObjective, type[LikelihoodModel]] = {
    "next_event": NextEventModel,
    "autoencoder": AutoencoderModel,
    "variational": VariationalAutoencoderModel,
    "masked": MaskedModel,
}
"""Models that have residuals per event and field."""

EMBEDDING_MODELS: dict[EmbeddingObjective, type[ContrastiveModel] | type[OneClassModel]] = {
    "contrastive": ContrastiveModel,
    "one_class": OneClassModel,
}
"""Models that say how odd a sequence is, and nothing of its events."""
