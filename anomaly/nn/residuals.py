"""What a model says about every judged event.

Shapes: T judged events, N sequences, F predicted fields, G of them whose codes rise with a number, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Residuals:
    """Surprisal per event and field, and what makes it comparable.

    Attributes
    ----------
    surprisal_TF : nats; where ends are closed the last column is the sequence's not having ended before the event
    expected_TF : nats, the entropy of the prediction: the surprisal that was to be expected
    tail_TF : probability of a value as improbable as the one seen, or more
    upper_TG : probability of a larger number than the one seen, half of its own bin's included
    gap_surprisal_T : nats, of the time since the previous event; 0 where there is none
    gap_pit_T : probability-integral transform of that time; NaN where there is none
    end_N : nats, of the sequence ending where it ends; 0 where ends are open
    embedding_ND : mean state of each sequence
    """

    surprisal_TF: Tensor
    expected_TF: Tensor
    tail_TF: Tensor
    upper_TG: Tensor
    gap_surprisal_T: Tensor
    gap_pit_T: Tensor
    end_N: Tensor
    embedding_ND: Tensor
