"""The next-event model: every field of the next event, its time and the sequence's end, from what came before."""

from __future__ import annotations

from anomaly.models.likelihood import LikelihoodModel


class NextEventModel(LikelihoodModel):
    """Causal density of whole event sequences: the state before an event predicts it."""
