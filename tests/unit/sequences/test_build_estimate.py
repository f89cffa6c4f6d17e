import polars as pl

from anomaly.events.readers import EventSource
from anomaly.sequences.build import build_store
from anomaly.sequences.estimate import estimate


def test_the_estimate_is_of_the_right_size() -> None:
    frame = pl.DataFrame({"user": [k % 50 for k in range(5000)], "event": ["a", "b"] * 2500, "time": range(5000)})
    source = EventSource.from_frame(frame)
    guess = estimate(source)
    store = build_store(source).store
    flat = sum(a.nbytes for a in (store.codes, store.values, store.delta, store.time, store.row))
    assert flat <= guess.disk <= 2 * flat
    assert guess.rows == 5000 and guess.seconds > 0 and guess.memory > guess.disk
    assert "5,000 rows" in str(guess)
