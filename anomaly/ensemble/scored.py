"""What an ensemble says of a store.

Shapes: T events, n items (sequences or events), m statistics, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Scores of a store's reported items.

    Attributes
    ----------
    score : (n,) -log10 of the calibrated p-value of the combined evidence
    p_value : (n,)
    member_names, member_scores : m names; (n, m) -log10 of each member's own p-value
    item_event : (n,) flat place of the item's event where the item is an event, else None
    event_score : (T,) -log10 of `event_p_value`
    event_p_value : (T,) conformal over held-out events; 1 where the event is the past of others
    event_field : (T,) index into `event_field_names` of the field that carried most
    event_fields : (T, F) evidence of each field
    posterior : (n,) belief that the item is anomalous, where labels have been learnt; score and p-value follow it
    """

    score: Floats
    p_value: Floats
    member_names: tuple[str, ...]
    member_scores: Floats
    item_event: NDArray[np.int64] | None
    event_score: Floats
    event_p_value: Floats
    event_field: NDArray[np.int64]
    event_fields: NDArray[np.float32]
    event_field_names: tuple[str, ...]
    posterior: Floats | None = None
