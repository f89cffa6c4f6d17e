"""Codes of an older encoder stay what they are when it grows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from anomaly.errors import ConfigError
from anomaly.events.encoder import EventEncoder
from anomaly.events.growth import GrowingEncoder, code_maps, grown, inverse
from anomaly.events.schema import EventSchema
from anomaly.events.vocabulary import UNKNOWN, Vocabulary

SCHEMA = EventSchema(entity="who", sequence=None, time=None, categorical=("what",), numeric=("much",))


def frame(what: list[str | None], much: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"who": ["a"] * len(what), "what": what, "much": much})


def vocabulary(values: list[str | None]) -> Vocabulary:
    table = pl.Series("v", values, dtype=pl.String).value_counts()
    return Vocabulary().fit(table["v"], table["count"])


def test_old_values_keep_their_codes_and_new_ones_come_behind() -> None:
    old = vocabulary(["a", "a", "a", "b"])
    both = grown(old, vocabulary(["c", "c", "b"]))
    seen = pl.Series(["a", "b", "c", "d"])
    assert both.transform(seen)[:2].tolist() == old.transform(seen)[:2].tolist()
    assert both.transform(seen)[2] == 5 and both.transform(seen)[3] == UNKNOWN
    assert both.counts_[3:].tolist() == [0, 1, 2]


def test_a_missing_value_moves_behind_the_new_ones() -> None:
    old = vocabulary(["a", None])
    both = grown(old, vocabulary(["b", "a"]))
    assert both.missing_ == 5 and both.size == 6
    assert both.transform(pl.Series([None, "b"], dtype=pl.String)).tolist() == [5, 4]


def test_numbers_and_text_meet() -> None:
    old = Vocabulary().fit(pl.Series([1, 2]), pl.Series([2, 1]))
    both = grown(old, vocabulary(["2", "x"]))
    assert both.transform(pl.Series(["1", "2", "x"])).tolist() == [3, 4, 5]


def test_an_encoder_grows() -> None:
    old = EventEncoder().fit(frame(["a", "b", None, "a"], [1.0, 2.0, 3.0, 4.0]), SCHEMA)
    old.fit_entities(pl.Series(["u", "v"]))
    new = GrowingEncoder.after(old).fit(frame(["b", "c", "c", "b"], [50.0, 60.0, 70.0, 80.0]), SCHEMA)
    new.fit_entities(pl.Series(["w", "v"]))
    rows = frame(["a", "b"], [1.0, 4.0])
    assert np.array_equal(old.transform(rows)[0], new.transform(rows)[0])
    assert np.array_equal(old.transform(rows)[1], new.transform(rows)[1])
    assert new.entity_codes(pl.Series(["u", "v", "w"])).tolist() == [1, 2, 3]
    maps = code_maps(old, new)
    assert maps[0].tolist() == [0, 1, 2, 3, 4, 6]
    assert inverse(maps[0], 7).tolist() == [0, 1, 2, 3, 4, UNKNOWN, 5]


def test_other_columns_are_refused() -> None:
    old = EventEncoder().fit(frame(["a"], [1.0]), SCHEMA)
    other = EventSchema(entity="who", sequence=None, time=None, categorical=("what",))
    with pytest.raises(ConfigError, match="its inputs are what, much"):
        GrowingEncoder.after(old).fit(frame(["a"], [1.0]), other)
