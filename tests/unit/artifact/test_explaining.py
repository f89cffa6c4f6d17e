"""Which event or sequence an id means."""

from __future__ import annotations

import polars as pl
import pytest

from anomaly.artifact.explaining import places_of
from anomaly.errors import DataError
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema
from anomaly.report.whys import _places
from anomaly.sequences.build import build_store
from anomaly.sequences.store import SequenceStore


def store_of(key: str | None) -> SequenceStore:
    """Return two users with a past, of which two rows have the ids of rows of the file."""
    rows = [(10, "a", 1), (14, "b", 1), (12, "a", 2), (12, "a", 2), (13, "b", 2), (14, "a", 3)]
    frame = pl.DataFrame(rows, schema=["row", "user", "time"], orient="row").with_columns(what=pl.lit("x"))
    schema = EventSchema(entity="user", time="time", id=key, categorical=("what",), numeric=())
    past, now = (EventSource.from_frame(part) for part in (frame[:3], frame[3:]))
    return build_store(now, schema, history=past).store


@pytest.mark.parametrize("key", ["row", None])
def test_an_event_is_the_reported_one_and_not_its_like_in_the_past(key: str | None) -> None:
    store = store_of(key)
    ids = [12, 13, 14] if key else [0, 1, 2]
    assert store.context.tolist() == [2, 1]
    places = places_of(store, ids, by_event=True)
    assert places.tolist() == [2, 5, 3]
    rows = pl.DataFrame({"id": ids})
    assert _places(store, rows, by_event=True).tolist() == [2, 5, 3]


def test_what_is_only_past_is_no_item() -> None:
    with pytest.raises(DataError, match=r"event '10': no such id here; there are 3, such as 12"):
        places_of(store_of("row"), ["10"], by_event=True)


def test_sequences_are_found_by_their_ids_as_text() -> None:
    store = store_of(None)
    assert places_of(store, [str(store.sequence_ids[1])], by_event=False).tolist() == [1]
    with pytest.raises(DataError, match="sequence 'z': no such id here; there are 2, such as"):
        places_of(store, ["z"], by_event=False)
