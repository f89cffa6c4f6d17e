from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from anomaly.atomic import remove_temporaries
from anomaly.errors import ArtifactError, DataError, SchemaError
from anomaly.events.encoder import EventEncoder
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema
from anomaly.sequences.build import Prepared, build_store
from anomaly.sequences.store import SequenceStore

START = datetime(2024, 1, 1)
ARRAYS = ("codes", "values", "delta", "time", "row", "offsets", "entity", "context")


def shop(n: int = 600, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    minutes = rng.integers(0, 60 * 24 * 20, n)
    return pl.DataFrame(
        {
            "row_id": [f"r{k}" for k in range(n)],
            "user": rng.choice(["ann", "bob", "eve", "joe"], n),
            "time": [START + timedelta(minutes=int(m)) for m in minutes],
            "event": rng.choice(["view", "pay", "cart"], n),
            "device": rng.choice(["d1", "d2", "d3"], n),
            "amount": rng.lognormal(size=n).round(2),
        }
    )


def build(frame: pl.DataFrame, encoder: EventEncoder | None = None, **roles: Any) -> Prepared:
    return build_store(EventSource.from_frame(frame), EventSchema.of(roles), encoder=encoder)


def rows_of(store: SequenceStore, n: int) -> list[int]:
    return list(store.row[store.offsets[n] : store.offsets[n + 1]])


def same(one: SequenceStore, two: SequenceStore) -> bool:
    equal = all(np.array_equal(getattr(one, a), getattr(two, a), equal_nan=a == "delta") for a in ARRAYS)
    return equal and one.sequence_ids.equals(two.sequence_ids) and one.fields == two.fields


def test_whole_histories() -> None:
    frame = shop()
    store = build(frame, sequence=None).store
    assert store.sequence_ids.to_list() == ["ann#0", "bob#0", "eve#0", "joe#0"]
    assert store.entity_ids.to_list() == ["ann", "bob", "eve", "joe"]
    assert (store.n_entities, store.closed, store.has_time) == (1, False, True)
    for n, user in enumerate(store.entity_ids):
        expected = frame.with_row_index().filter(user=user).sort("time", maintain_order=True)
        assert rows_of(store, n) == expected["index"].to_list()
        steps = expected["time"].diff().dt.total_seconds().fill_null(0)
        places = slice(store.offsets[n], store.offsets[n + 1])
        assert store.delta[places] == pytest.approx(steps.to_numpy())
        assert store.event_ids is not None
        assert store.event_ids[places].to_list() == expected["row_id"].to_list()


def test_ids_are_kept_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly.events.files._INFER_ROWS", 3)
    rows = pl.DataFrame(
        {"user": ["1", "2", "1", "2", "x3"], "case": [7, 8, 7, 8, 9], "no": ["01", "02", "03", "04", "05"]}
    ).with_columns(time=pl.int_range(5), event=pl.lit("view"))
    rows.write_csv(tmp_path / "new.csv")
    rows.with_columns(user=pl.lit("1"), case=7).head(2).write_csv(tmp_path / "old.csv")
    schema = EventSchema.of(entity="user", sequence="case", time="time", id="no", categorical=["event"])
    store = build_store(EventSource.open(tmp_path / "new.csv"), schema).store
    assert store.sequence_ids.to_list() == [7, 8, 9]
    assert store.entity_ids.to_list() == ["1", "2", "x3"]
    assert store.event_ids is not None and store.event_ids.to_list() == ["01", "03", "02", "04", "05"]
    old = EventSource.open(tmp_path / "old.csv")
    later = build_store(EventSource.open(tmp_path / "new.csv"), schema, history=old).store
    assert later.entity_ids.to_list() == ["1", "2", "x3"] and later.context.tolist() == [2, 0, 0]


def test_gaps_make_sequences() -> None:
    store = build(shop(), gap="12h").store
    assert len(store) > 4 and store.n_entities == 5
    first = store.offsets[:-1]
    inner = np.ones(store.n_events, bool)
    inner[first] = False
    assert store.delta[inner].max() <= 12 * 3600
    same_user = store.entity[1:] == store.entity[:-1]
    silence = (store.time[first[1:]] - store.time[first[1:] - 1]) / 1e6
    assert silence[same_user].min() > 12 * 3600
    ann = [i for i in store.sequence_ids if i.startswith("ann#")]
    assert ann == [f"ann#{k}" for k in range(len(ann))]
    assert store.sequence_ids.n_unique() == len(store)


def test_windows_make_sequences() -> None:
    store = build(shop(), window=50).store
    assert store.lengths.max() == 50
    assert store.n_events == 600
    assert (store.lengths == 50).sum() >= len(store) - 4


def test_one_history_of_nobody() -> None:
    store = build(shop(), entity=None, sequence=None).store
    assert store.sequence_ids.to_list() == ["all#0"]
    assert store.entity_ids.to_list() == [None]
    assert build(shop(), entity=None, window=100).store.sequence_ids.to_list() == [f"all#{k}" for k in range(6)]


def test_a_stated_sequence_keeps_ids_and_their_type() -> None:
    frame = pl.DataFrame({"case": pl.Series([9, 7, 9, 7, 8], dtype=pl.UInt16), "event": ["a", "b", "c", "d", "e"]})
    store = build(frame, sequence="case").store
    assert store.sequence_ids.dtype == pl.UInt16
    assert store.sequence_ids.to_list() == [9, 7, 8]
    assert [rows_of(store, n) for n in range(3)] == [[0, 2], [1, 3], [4]]
    assert store.closed and not store.has_time
    assert np.isnan(store.delta).all() and not store.time.any()


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series([2.5, 1.0, 2.5, 1.0]),
        pl.Series([True, False, True, False]),
        pl.Series(["ü", "", "ü", ""]),
        pl.Series([datetime(2024, 1, 2), START, datetime(2024, 1, 2), START]),
        pl.Series([2**64 - 1, 5, 2**64 - 1, 5], dtype=pl.UInt64),
        pl.Series(["b", "a", "b", "a"], dtype=pl.Categorical),
        pl.Series([-(2**60), 2**60, -(2**60), 2**60]),
    ],
)
def test_ids_of_any_type(ids: pl.Series) -> None:
    frame = pl.DataFrame({"case": ids, "event": ["a", "b", "c", "d"]})
    store = build(frame, sequence="case").store
    assert store.sequence_ids.to_list() == [ids[0], ids[1]]
    assert store.sequence_ids.dtype == ids.dtype


def test_order_columns_come_before_time_and_rows() -> None:
    frame = pl.DataFrame(
        {
            "user": ["u"] * 6,
            "case": ["late", "late", "early", "early", "mid", "mid"],
            "block": [3, 3, 1, 1, 2, 2],
            "position": [1, 0, 1, 0, 0, 0],
            "t": [10, 20, 30, 40, 50, 60],
            "event": list("abcdef"),
        }
    )
    roles: dict[str, Any] = {"entity": "user", "sequence": "case", "categorical": "event"}
    store = build(frame, **roles, time=None, order=["block", "position"]).store
    assert store.sequence_ids.to_list() == ["early", "mid", "late"]
    assert list(store.row) == [3, 2, 4, 5, 1, 0]
    by_time = build(frame.reverse(), **roles, time="t", order=None).store
    assert by_time.sequence_ids.to_list() == ["late", "early", "mid"]
    by_file = build(frame, **roles, time=None, order=None).store
    assert list(by_file.row) == list(range(6))
    prepared = build(frame, **roles, time="t", order=["block", "position"])
    assert [f.count for f in prepared.findings if f.check == "time going backwards"] == [2]
    assert (prepared.store.delta >= 0).all()


@pytest.mark.parametrize(
    "order", [[3.5, -1.0, 2.0, float("-inf")], ["d", "a", "c", ""], [10**15, -(10**15), 5, -(2**62)]]
)
def test_any_column_may_order(order: list[Any]) -> None:
    frame = pl.DataFrame({"case": [1] * 4, "o": order, "event": list("abcd")})
    assert list(build(frame, sequence="case", order="o", categorical="event").store.row) == [3, 1, 2, 0]


def test_one_id_under_two_entities_names_both() -> None:
    frame = pl.DataFrame({"case": ["s1", "s2", "s1"], "user": ["ann", "bob", "eve"], "event": ["a", "b", "c"]})
    with pytest.raises(DataError, match=r"'s1' \(column case\) occurs under two entities, 'ann' and 'eve'.*events.gap"):
        build(frame, sequence="case", entity="user")


def test_missing_times_are_carried_and_leave_no_gap() -> None:
    times = [None, 10, None, 25, 40, None]
    frame = pl.DataFrame({"case": [1] * 5 + [2], "t": times, "p": [0, 1, 2, 3, 4, 0], "event": list("abcdef")})
    store = build(frame, sequence="case", time="t", order="p", categorical="event").store
    assert np.array_equal(store.delta, [0, np.nan, np.nan, 15, 15, 0], equal_nan=True)
    assert (store.time / 1e6).tolist() == [0, 10, 10, 25, 40, 0]
    unordered = build(frame.head(5), sequence="case", time="t", order=None, categorical="event").store
    assert list(unordered.row) == [0, 1, 2, 3, 4]


def test_entities_are_known_again_and_strangers_are_not() -> None:
    fitted = build(shop(), gap="12h")
    frame = shop(seed=1).with_columns(user=pl.col("user").replace("joe", "zoe"))
    store = build_store(EventSource.from_frame(frame), encoder=fitted.encoder).store
    codes = dict(zip(store.entity_ids, store.entity.tolist(), strict=True))
    assert codes == {"ann": 1, "bob": 2, "eve": 3, "zoe": 0}
    assert store.n_entities == 5


def test_the_past_is_read_and_never_reported() -> None:
    frame = shop().sort("time")
    past, now = frame.head(400), frame.tail(200)
    roles: dict[str, Any] = {"sequence": None, "id": "row_id", "shared": "device", "shared_window": "5d"}
    whole = build(frame, **roles)
    source = EventSource.from_frame(now.filter(pl.col("user") != "eve"))
    store = build_store(source, whole.schema, encoder=whole.encoder, history=EventSource.from_frame(past)).store
    assert store.entity_ids.to_list() == ["ann", "bob", "joe"]
    assert store.context.tolist() == [past.filter(user=u).height for u in store.entity_ids]
    assert store.row.min() == -400
    alone = now.filter(user="ann").height
    assert store.lengths[0] - store.context[0] == alone


def test_shared_counts_are_causal_over_history_and_file() -> None:
    frame = shop().sort("time")
    roles: dict[str, Any] = {
        "sequence": None,
        "id": "row_id",
        "shared": "device",
        "shared_window": "5d",
        "categorical": "event",
    }
    whole = build(frame, **roles)
    assert whole.store.field_names == ("event", "device.entities", "hour", "weekday")
    history = EventSource.from_frame(frame.head(400))
    later = build_store(EventSource.from_frame(frame.tail(200)), whole.schema, encoder=whole.encoder, history=history)
    assert same_by_id(whole.store, later.store)
    alone = build(frame.tail(200), whole.encoder, **roles)
    assert not same_by_id(whole.store, alone.store)


def same_by_id(one: SequenceStore, two: SequenceStore) -> bool:
    assert one.event_ids is not None and two.event_ids is not None
    at = {i: k for k, i in enumerate(one.event_ids)}
    places = [at[i] for i in two.event_ids]
    return bool((one.codes[places] == two.codes).all() and (one.values[places] == two.values).all())


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
def test_file_and_frame_memory_and_disk_batches_and_whole_agree(tmp_path: Path, kind: str) -> None:
    frame = shop().with_columns(pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S"), device=pl.lit(None, pl.String))
    path = tmp_path / f"shop.{kind}"
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)
    schema = EventSchema.of(entity="user", gap="12h", time="time", categorical=["event", "device"], numeric="amount")
    held = build_store(EventSource.from_frame(frame), schema)
    streamed = build_store(EventSource.open(path), schema, out=tmp_path / "store", memory_limit=0, batch_rows=70)
    assert same(held.store, streamed.store)
    assert isinstance(streamed.store.codes, np.memmap)
    assert same(SequenceStore.open(tmp_path / "store"), held.store)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    again = build_store(EventSource.open(path), encoder=held.encoder)
    assert same(again.store, held.store)


def test_appending_events_changes_nothing_before_them() -> None:
    frame = shop().sort("time")
    roles: dict[str, Any] = {"sequence": None, "shared": "device"}
    whole = build(frame, **roles)
    part = build_store(EventSource.from_frame(frame.head(350)), whole.schema, encoder=whole.encoder).store
    keep = whole.store.row < 350
    assert (whole.store.codes[keep] == part.codes).all()
    assert (whole.store.delta[keep] == part.delta).all()


def test_bad_rows_are_dropped_in_both_passes() -> None:
    frame = shop(50).with_columns(user=pl.when(pl.int_range(50) % 10 == 3).then(None).otherwise(pl.col("user")))
    source = EventSource.from_frame(frame)
    with pytest.raises(DataError, match="row 3, column user"):
        build_store(source, EventSchema(sequence=None, entity="user"))
    schema = EventSchema(sequence=None, entity="user", id="row_id")
    prepared = build_store(source, schema, bad_rows="drop", batch_rows=7)
    store = prepared.store
    assert (prepared.n_dropped, store.n_events) == (5, 45)
    assert store.event_ids is not None
    assert store.event_ids.to_list() == [f"r{k}" for k in store.row]
    clean = build_store(EventSource.from_frame(frame.drop_nulls("user")), schema, encoder=prepared.encoder).store
    assert (clean.codes == store.codes).all()


FULL = {
    "os.posix_fallocate": OSError(28, "No space left on device"),
    "numpy.save": OSError("9 requested and 0 written"),
}


@pytest.mark.parametrize("call", FULL)
def test_nothing_is_left_behind_by_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise FULL[call]

    monkeypatch.setattr(call, full, raising=False)
    with pytest.raises(ArtifactError, match="disk is full"):
        build_store(EventSource.from_frame(shop()), out=tmp_path / "run" / "store", memory_limit=0)
    assert not list((tmp_path / "run").iterdir())
    monkeypatch.undo()
    build_store(EventSource.from_frame(shop()), out=tmp_path / "run" / "store")
    with pytest.raises(DataError, match="already there"):
        build_store(EventSource.from_frame(shop()), out=tmp_path / "run" / "store")


def test_what_a_killed_preparation_left_is_known_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        patch.setattr("numpy.save", killed)
        build_store(EventSource.from_frame(shop()), out=tmp_path / "store")
    assert len(list(tmp_path.iterdir())) == 1
    remove_temporaries(tmp_path)
    assert not list(tmp_path.iterdir())


def test_findings_over_the_whole() -> None:
    frame = shop().with_columns(row_id=pl.lit("x"), device=pl.lit("d"))
    found = build(frame, sequence=None, id="row_id", categorical=["event", "device"]).findings
    told = {(f.check, f.column): f.count for f in found}
    assert told[("duplicated ids", "row_id")] == 599
    assert ("constant column", "device") in told


def test_columns_missing_at_scoring_are_named() -> None:
    fitted = build(shop(), sequence=None)
    with pytest.raises(SchemaError, match="no column amount"):
        build_store(EventSource.from_frame(shop().drop("amount")), encoder=fitted.encoder)


@pytest.mark.parametrize("n", [1, 2, 19])
def test_tiny_and_constant_files(n: int) -> None:
    frame = pl.DataFrame({"user": ["u"] * n, "time": [START] * n, "event": ["a"] * n, "amount": [None] * n})
    store = build(frame, entity="user", categorical="event", numeric="amount").store
    assert store.n_events == n and np.isfinite(store.values).all()


def test_progress_is_told() -> None:
    seen: list[tuple[str, int, int]] = []
    build_store(EventSource.from_frame(shop()), progress=lambda *step: seen.append(step))
    assert seen == [("reading", 600, 600), ("encoding", 600, 600)]


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_store_is_the_same_filled_in_memory_or_in_its_files(tmp_path: Path, memory: int) -> None:
    source = EventSource.from_frame(shop())
    store = build_store(source, out=tmp_path / "s", memory_limit=memory, batch_rows=64).store
    assert isinstance(store.codes, np.memmap) and same(store, build_store(source).store)


def test_a_store_is_filled_where_no_space_can_be_kept_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.delattr("os.posix_fallocate", raising=False)
    source = EventSource.from_frame(shop())
    assert same(build_store(source, out=tmp_path / "s", memory_limit=0).store, build_store(source).store)


def test_a_store_without_numbers_is_written(tmp_path: Path) -> None:
    frame = pl.DataFrame({"case": [1, 1, 2], "event": ["a", "b", "c"]})
    store = build_store(EventSource.from_frame(frame), EventSchema(sequence="case"), out=tmp_path / "s").store
    assert store.values.shape == (3, 0)
    assert same(store, build(frame, sequence="case").store)
    assert store.take([1]).sequence_ids.to_list() == [2]


def silences(**roles: Any) -> list[float] | None:
    rows = [("a", 0), ("a", 1), ("b", 2), ("a", 9), ("b", 10), ("b", None), ("c", None)]
    frame = pl.DataFrame(rows, schema=["user", "day"], orient="row").with_columns(event=pl.lit("e"))
    frame = frame.with_columns(time=pl.lit(START) + pl.duration(days="day"))
    built = build(frame, **{"entity": "user", "sequence": None, "time": "time", "categorical": ["event"], **roles})
    return None if built.store.silence is None else (built.store.silence / 86_400).tolist()


def test_the_silence_after_a_sequence_lasts_to_the_stated_end() -> None:
    assert silences(until="2024-01-21") == [11, 10, 0]
    assert silences(until="2024-01-21", gap="5d") == [0, 11, 0, 10, 0]
    assert silences(until="2024-01-21", gap="5d", ends="closed") == [0, 11, 0, 10, 0]
    alone = silences(until="2024-01-21", entity=None, sequence="user", ends="open")
    assert alone == [0, 11, 10]  # What has no time comes first.
    assert silences(until="2024-01-10 12:00") == [0.5, 0, 0]
    assert silences(until="2024-01-21", ends="closed") is None and silences(until="2024-01-21", time=None) is None


def test_without_a_stated_end_no_silence_is_known() -> None:
    """The newest row of the file would make every score depend on what else is in it."""
    assert silences() is silences(gap="5d") is None


def test_rows_beyond_the_stated_end_are_told() -> None:
    frame = shop().with_row_index("n").drop("n")
    until = str(frame["time"].sort()[-3])
    found = [f for f in build(frame, until=until).findings if f.check == "beyond the end"]
    assert [f.count for f in found] == [2] and f"events.until={until}" in found[0].message
    assert frame["time"][found[0].row] > frame["time"].sort()[-3]


def pauses(past: int = 0, **roles: Any) -> list[float] | None:
    rows = [("a", "s1", 0), ("a", "s1", 1), ("b", "s2", 2), ("a", "s3", 9), ("b", "s4", 10), ("b", "s5", None)]
    frame = pl.DataFrame(rows, schema=["user", "session", "day"], orient="row").with_columns(event=pl.lit("e"))
    frame = frame.with_columns(time=pl.lit(START) + pl.duration(days="day"))
    stated = {"entity": "user", "sequence": "session", "time": "time", "categorical": ["event"], **roles}
    old = EventSource.from_frame(frame.head(past)) if past else None
    store = build_store(EventSource.from_frame(frame.slice(past)), EventSchema.of(stated), history=old).store
    return None if store.pause is None else (store.pause / 86_400).round(3).tolist()


def test_the_pause_before_a_sequence_is_its_entity_s() -> None:
    nan = pytest.approx(np.nan, nan_ok=True)
    assert pauses() == [nan, 8, nan, nan, 8]  # What has no time comes first.
    assert pauses(sequence=None, gap="5d") == [nan, 8, nan, 8]
    assert pauses(past=3) == [8, nan, 8]
    assert pauses(entity=None) is pauses(time=None) is pauses(sequence=None) is pauses(sequence=None, window=2) is None


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DataError, match=r"needs .* GB"):
        build_store(EventSource.from_frame(shop()), out=tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_who_is_not_a_number_is_nobody_and_takes_no_name() -> None:
    """Such rows were a history of their own, under the name of the last entity."""
    frame = pl.DataFrame({"user": [1.0, float("nan"), 2.0, 2.0], "event": ["a", "b", "a", "b"]})
    schema = EventSchema.of(entity="user", categorical="event")
    store = build_store(EventSource.from_frame(frame), schema, bad_rows="drop").store
    assert store.sequence_ids.to_list() == ["1.0#0", "2.0#0"] and store.lengths.tolist() == [1, 2]


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Float64])
def test_numbers_of_the_history_are_those_of_the_file(dtype: pl.DataType) -> None:
    """A missing value turns whole numbers to floats in many tools."""
    frame = pl.DataFrame({"id": range(6), "user": [7, 8, 7, 8, 7, 2**40], "time": range(6), "event": ["a", "b"] * 3})
    past = frame.head(4).with_columns(pl.col("id", "user").cast(dtype))
    schema = EventSchema.of(entity="user", id="id", time="time", categorical="event")
    later = build_store(EventSource.from_frame(frame.tail(2)), schema, history=EventSource.from_frame(past)).store
    assert later.entity_ids.to_list() == [7, 2**40] and later.lengths.tolist() == [3, 1]
    assert later.event_ids is not None and later.event_ids.to_list() == [0, 2, 4, 5]


def test_entities_of_exact_decimals() -> None:
    user = pl.Series([1, 2, 1]).cast(pl.Decimal(10, 2))
    store = build(pl.DataFrame({"user": user, "event": ["a", "b", "c"]}), entity="user", categorical="event").store
    assert store.lengths.tolist() == [2, 1] and store.entity_ids.dtype == pl.Decimal(10, 2)


def test_a_silence_ends_a_sequence_although_a_time_within_it_is_missing() -> None:
    times = ["2024-01-01 00:00", "2024-01-01 00:01", None, "2024-01-03 00:00", None, None, "2024-01-09 00:00"]
    frame = pl.DataFrame({"user": ["a"] * 4 + ["b"] * 3, "time": times, "event": list("xyxyxyx")})
    store = build(frame, entity="user", time="time", gap="1h", categorical="event").store
    assert store.sequence_ids.to_list() == ["a#0", "a#1", "b#0"] and store.lengths.tolist() == [3, 1, 3]


def test_json_without_an_input_lacks_its_values(tmp_path: Path) -> None:
    # Records leave out what they lack, and in a short file all of them may.
    told = ['{"user": "a", "event": "x", "item": {"price": 1.5}}', '{"user": "a", "event": "y"}']
    (tmp_path / "old.ndjson").write_text("\n".join(told))
    (tmp_path / "new.ndjson").write_text(told[1])
    (tmp_path / "other.ndjson").write_text('{"event": "y"}')
    old = build_store(EventSource.open(tmp_path / "old.ndjson"), EventSchema.of(entity="user", numeric="item.price"))
    new = build_store(EventSource.open(tmp_path / "new.ndjson"), encoder=old.encoder)
    assert len(new.store) == 1 and [f.column for f in new.findings] == ["item.price"]
    with pytest.raises(SchemaError, match="no column user"):
        build_store(EventSource.open(tmp_path / "other.ndjson"), encoder=old.encoder)
