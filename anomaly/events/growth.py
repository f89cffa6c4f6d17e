"""An encoder that goes on from an older one: what had a code keeps it, what is new gets one behind.

Shapes: V codes of a field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from anomaly.errors import ConfigError
from anomaly.events.encoder import EventEncoder
from anomaly.events.vocabulary import FIRST_VALUE, UNKNOWN, Field, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly.events.profile import ColumnProfile


class GrowingEncoder(EventEncoder):
    """Bins, clock and the order of fields are the older encoder's; vocabularies and entities grow.

    The parameters are those of the older encoder, which is forgotten once this one is fitted.
    """

    _base: EventEncoder | None = None

    @classmethod
    def after(cls, base: EventEncoder) -> Self:
        """Return an encoder that will grow out of a fitted one."""
        encoder = cls(**base.get_params(deep=False))
        encoder._base = base
        return encoder

    def fit_profile(self, profile: ColumnProfile) -> Self:
        """Learn what is new from the statistics of one pass.

        Raises
        ------
        ConfigError
            If the inputs are not those of the older encoder.
        """
        super().fit_profile(profile)
        base = self._base
        if base is None:
            return self
        if set(self.vocabularies_) != set(base.vocabularies_) or set(self.bins_) != set(base.bins_):
            before, after = ", ".join([*base.vocabularies_, *base.bins_]), ", ".join([*self.vocabularies_, *self.bins_])
            raise ConfigError(
                f"init_from: its inputs are {before}, those of the new rows {after}; "
                "state the same columns, events.categorical= and events.numeric="
            )
        self.vocabularies_ = {name: grown(old, self.vocabularies_[name]) for name, old in base.vocabularies_.items()}
        self.bins_ = base.bins_
        self.fields_ = tuple(
            Field(f.name, f.kind, self.vocabularies_[f.name].size if f.kind == "categorical" else f.size)
            for f in base.fields_
        )
        own = {name: vocabulary.counts_ for name, vocabulary in self.vocabularies_.items()}
        # The older bins have not counted these rows; what is known of them are the older shares.
        self.shares_ = base.shares_ | {name: counts / max(counts.sum(), 1) for name, counts in own.items()}
        return self

    def fit_entities(self, entities: pl.Series) -> Self:
        """Give codes to the entities that are new, behind those that have one."""
        super().fit_entities(entities)
        if self._base is not None:
            self.entities_ = grown(self._base.entities_, self.entities_)
        return self


def grown(old: Vocabulary, new: Vocabulary) -> Vocabulary:
    """Return a vocabulary whose first values are the old one's, in their order, with the new one's counts."""
    before, after = old.values_, new.values_
    if before.dtype != after.dtype:
        before, after = before.cast(pl.String), after.cast(pl.String)
    fresh = after.filter(~after.is_in(before.implode()))
    both = Vocabulary(**new.get_params(deep=False))
    both.values_ = pl.concat([before, fresh])
    rare = pl.concat([old.rare_.cast(before.dtype), new.rare_.cast(before.dtype)]).unique(maintain_order=True)
    both.rare_ = rare.filter(~rare.is_in(both.values_.implode()))
    counts = pl.DataFrame({"value": after, "count": new.counts_[FIRST_VALUE : FIRST_VALUE + len(after)]})
    used = both.values_.alias("value").to_frame().join(counts, on="value", how="left", maintain_order="left")["count"]
    missing = [new.counts_[new.missing_] if new.missing_ != UNKNOWN else 0]
    has_missing = {old.missing_, new.missing_} != {UNKNOWN}
    own = [*new.counts_[:FIRST_VALUE], *used.fill_null(0)]
    both.missing_ = len(own) if has_missing else UNKNOWN
    both.counts_ = np.array([*own, *missing] if has_missing else own, np.int64)
    both._lookup = None
    return both


def code_maps(old: EventEncoder, new: EventEncoder) -> list[NDArray[np.int64]]:
    """Return, for each field, (V,) the new code of every old one."""
    maps = []
    for field in old.fields_:
        codes = np.arange(field.size)
        if field.kind == "categorical":
            before, after = old.vocabularies_[field.name].missing_, new.vocabularies_[field.name].missing_
            if before != UNKNOWN:
                codes[before] = after
        maps.append(codes)
    return maps


def inverse(codes: NDArray[np.int64], size: int) -> NDArray[Any]:
    """Return (size,) the old code of every new one; unknown where it had none."""
    back = np.full(size, UNKNOWN)
    back[codes] = np.arange(len(codes))
    return back
