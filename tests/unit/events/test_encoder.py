from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from anomaly.errors import NotFittedError, SchemaError
from anomaly.events.encoder import EventEncoder
from anomaly.events.schema import EventSchema
from anomaly.events.vocabulary import FIRST_VALUE, UNKNOWN

SCHEMA = EventSchema.of(
    entity="user", sequence=None, time="time", categorical=["event", "device"], numeric=["amount"], shared=["device"]
)


def frame(n: int = 500, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "time": [datetime(2024, 1, 1) + timedelta(hours=int(h)) for h in np.arange(n)],
            "event": rng.choice(["view", "pay", "cart"], n),
            "device": rng.integers(0, 9, n),
            "amount": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(size=n)),
            "device.entities": rng.integers(1, 4, n),
        }
    )


def test_fields_in_order() -> None:
    encoder = EventEncoder().fit(frame(), SCHEMA)
    assert [(f.name, f.kind) for f in encoder.fields_] == [
        ("event", "categorical"),
        ("device", "categorical"),
        ("amount", "numeric"),
        ("device.entities", "numeric"),
        ("hour", "clock"),
        ("weekday", "clock"),
    ]
    assert encoder.value_names == ("amount", "device.entities")
    codes, values = encoder.transform(frame())
    assert codes.shape == (500, 6) and codes.dtype == np.uint16
    assert values.shape == (500, 2) and np.isfinite(values).all()
    assert (codes < [f.size for f in encoder.fields_]).all()
    assert (codes >= FIRST_VALUE).all()
    for k, field in enumerate(encoder.fields_):
        assert len(encoder.shares_[field.name]) == field.size
        assert encoder.shares_[field.name].sum() == pytest.approx(1)
        seen = np.bincount(codes[:, k], minlength=field.size) > 0
        assert (seen == (encoder.shares_[field.name] > 0)).all()


def test_batches_do_not_matter() -> None:
    whole = EventEncoder().fit(frame(), SCHEMA)
    parts = EventEncoder().fit(frame().iter_slices(37), SCHEMA)
    assert whole.fields_ == parts.fields_
    probe = frame(seed=1)
    assert (whole.transform(probe)[0] == parts.transform(probe)[0]).all()
    rows = [whole.transform(probe[k : k + 1])[0] for k in range(20)]
    assert (np.concatenate(rows) == whole.transform(probe)[0][:20]).all()


def test_clock_needs_dates_that_vary() -> None:
    days = frame().with_columns(time=pl.Series([datetime(2024, 1, 1) + timedelta(days=k) for k in range(500)]))
    assert [f.name for f in EventEncoder().fit(days, SCHEMA).fields_][-1:] == ["weekday"]
    seconds = frame().with_columns(time=pl.Series(np.arange(500) * 5000.0))
    assert EventEncoder().fit(seconds, SCHEMA).fields_[-1].kind == "numeric"
    assert EventEncoder(clock=()).fit(frame(), SCHEMA).fields_[-1].kind == "numeric"


def test_missing_and_unknown_are_read() -> None:
    encoder = EventEncoder().fit(frame(), SCHEMA)
    odd = frame(2).with_columns(
        event=pl.Series(["never", None]),
        amount=pl.Series([None, 1e30]),
        time=pl.Series([None, None], dtype=pl.Datetime),
    )
    codes, values = encoder.transform(odd)
    assert codes[:, 0].tolist() == [UNKNOWN, UNKNOWN]
    assert codes[:, 4].tolist() == [UNKNOWN, UNKNOWN]
    assert codes[1, 2] == encoder.fields_[2].size - 1
    assert values[0, 0] == 0 and values[1, 0] == 8
    assert encoder.decode("event", codes[:, 0]) == ["unknown", "unknown"]
    assert encoder.decode("amount", codes[:1, 2]) == ["missing"]
    assert encoder.decode("weekday", np.array([3, 9])) == ["Monday", "Sunday"]


def test_drift_tells_what_differs() -> None:
    encoder = EventEncoder().fit(frame(), SCHEMA)
    same = encoder.drift(encoder.transform(frame(seed=1))[0], {"event": "text", "amount": "number"})
    assert not [line for line in same if line.notable and line.field != "hour"]
    moved = frame(seed=2).with_columns(event=pl.lit("refund"), amount=pl.col("amount") * 20)
    told = {(d.field, d.change) for d in encoder.drift(encoder.transform(moved)[0], {"device": "text"}) if d.notable}
    assert {("event", "unknown values"), ("amount", "distribution"), ("device", "type")} <= told


def test_use_before_fit_and_no_input_are_errors() -> None:
    with pytest.raises(NotFittedError):
        EventEncoder().transform(frame())
    with pytest.raises(SchemaError, match="no column is left"):
        EventEncoder().fit(frame(), EventSchema.of(entity="user", time=None, categorical=[], numeric=[]))


def test_entities() -> None:
    encoder = EventEncoder().fit(frame(), SCHEMA)
    assert encoder.n_entities == 1
    encoder.fit_entities(pl.Series(["x", "y"]))
    assert encoder.n_entities == 3
    assert encoder.entity_codes(pl.Series(["y", "z", "x"])).tolist() == [2, 0, 1]


def test_a_wide_vocabulary_needs_wide_codes() -> None:
    wide = pl.DataFrame({"event": np.arange(70_000)})
    schema = EventSchema.of(entity="user", time=None, categorical="event", numeric=None)
    assert EventEncoder(max_vocabulary=100_000).fit(wide, schema).transform(wide)[0].dtype == np.int32
