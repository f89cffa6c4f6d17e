"""What differs from training in data that is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anomaly.events.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from anomaly.events.encoder import EventEncoder

Change = Literal["type", "unknown values", "distribution"]

_UNKNOWN_SHARE = 0.01
_INDEX = 0.25
_FLOOR = 1e-4


@dataclass(frozen=True)
class Drift:
    """One line of the table.

    Attributes
    ----------
    field : the field
    change : "type", "unknown values" (shares of unknown values), "distribution" (population stability index)
    before, now : in training and in the scored data; types as text
    notable : whether it is large enough to be told
    message : what it means
    """

    field: str
    change: Change
    before: str | float
    now: str | float
    notable: bool
    message: str


def drift(
    encoder: EventEncoder, shares: Mapping[str, NDArray[np.float64]], dtypes: Mapping[str, str] | None = None
) -> list[Drift]:
    """Compare shares of codes, and types of columns, with those the encoder saw in `fit`."""
    lines = [_type(name, encoder.dtypes_[name], now) for name, now in (dtypes or {}).items() if name in encoder.dtypes_]
    found = [line for line in lines if line.notable]
    for field in encoder.fields_:
        now, before = shares[field.name], encoder.shares_[field.name]
        if field.kind == "categorical":
            found.append(_unknown(field.name, float(before[UNKNOWN]), float(now[UNKNOWN])))
        found.append(_shift(field.name, before, now))
    return found


def code_shares(codes: NDArray[Any], sizes: tuple[int, ...], names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Return by field the (size,) share of each code in (T, F) codes."""
    total = max(len(codes), 1)
    return {
        name: np.bincount(codes[:, k], minlength=size) / total
        for k, (name, size) in enumerate(zip(names, sizes, strict=True))
    }


def stability_index(before: NDArray[np.float64], now: NDArray[np.float64], coarse: int = 10) -> float:
    """Return the population stability index of two distributions over codes, merged to about ten groups of equal share.

    Above 0.25 is by custom a major shift (Siddiqi 2006, Credit Risk Scorecards).
    """
    groups = np.minimum((np.cumsum(before) - before) * coarse, coarse - 1).astype(np.int64)
    p = np.maximum(np.bincount(groups, before, minlength=coarse), _FLOOR)
    q = np.maximum(np.bincount(groups, now, minlength=coarse), _FLOOR)
    return float(((q - p) * np.log(q / p)).sum())


def _type(name: str, before: str, now: str) -> Drift:
    return Drift(name, "type", before, now, before != now, f"column {name} was {before} in training and is {now} here")


def _unknown(name: str, before: float, now: float) -> Drift:
    notable = now > before + _UNKNOWN_SHARE
    return Drift(name, "unknown values", before, now, notable, f"{now:.1%} of the values were never seen in training")


def _shift(name: str, before: NDArray[np.float64], now: NDArray[np.float64]) -> Drift:
    index = stability_index(before, now)
    text = f"the distribution of {name} has moved (stability index {index:.2f}, large from {_INDEX})"
    return Drift(name, "distribution", 0.0, index, index > _INDEX, text)
