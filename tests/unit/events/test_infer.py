from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from anomaly.errors import SchemaError
from anomaly.events.infer import infer_schema, left_out, looks_like_label, looks_like_number
from anomaly.events.readers import EventSource
from anomaly.events.schema import EventSchema

N = 400


def log(**more: object) -> EventSource:
    rng = np.random.default_rng(0)
    start = datetime(2024, 1, 1)
    columns = {
        "event_id": np.arange(N),
        "user_id": rng.integers(0, 20, N),
        "timestamp": [start + timedelta(minutes=int(m)) for m in np.arange(N)],
        "event": rng.choice(["view", "pay"], N),
        "device": [f"d{k}" for k in rng.integers(0, 30, N)],
        "amount": rng.lognormal(size=N),
        "quantity": rng.integers(1, 5, N),
        "is_fraud": rng.integers(0, 2, N),
        "split": rng.choice(["train", "test"], N),
        "currency": ["EUR"] * N,
        "comment": [f"text {k}" for k in range(N)],
    }
    return EventSource.from_frame(pl.DataFrame({**columns, **more}))


def test_a_shop_log() -> None:
    schema = infer_schema(log())
    assert schema.complete
    assert schema.overrides() == [
        "events.entity=user_id",
        "events.sequence=null",
        "events.time=timestamp",
        "events.order=[]",
        "events.id=event_id",
        "events.categorical=[event,device]",
        "events.numeric=[amount,quantity]",
        "events.ends=open",
    ]


def test_a_guess_states_itself_again() -> None:
    schema = infer_schema(log())
    assert infer_schema(log(), schema) == schema


def test_stated_inputs_are_the_only_ones() -> None:
    assert infer_schema(log(), EventSchema(categorical="event")).inputs == ("event",)
    assert infer_schema(log(), EventSchema(numeric="amount")).inputs == ("amount",)


def test_a_stated_sequence_leaves_no_entity() -> None:
    schema = infer_schema(log(session=np.arange(N) // 10), EventSchema(sequence="session"))
    assert (schema.entity, schema.ends) == (None, "closed")
    assert "user_id" in schema.inputs


def test_a_session_column_is_found_and_its_owner() -> None:
    owned = np.arange(N) // 10
    schema = infer_schema(log(session_id=owned, user_id=owned % 7))
    assert (schema.entity, schema.sequence, schema.ends) == ("user_id", "session_id", "closed")
    torn = infer_schema(log(session_id=owned))
    assert torn.entity is None


def test_sessions_that_each_user_counts_from_one_have_owners() -> None:
    # Without an owner the first sessions of all users would be one sequence.
    schema = infer_schema(log(user_id=np.arange(N) % 20, session_no=1 + np.arange(N) // 20 % (2 + np.arange(N) % 3)))
    assert (schema.entity, schema.sequence) == ("user_id", "session_no")


def test_a_stated_role_is_never_another() -> None:
    schema = infer_schema(log(), EventSchema(entity="device", time=None))
    assert "device" not in schema.inputs
    assert schema.time is None
    assert infer_schema(log(), EventSchema(id=None)).id is None


def test_histories_gaps_and_windows_are_open() -> None:
    for cut in ({"gap": "30m"}, {"window": 50}, {"sequence": None}, {"sequence": "user_id", "entity": "user_id"}):
        assert infer_schema(log(), EventSchema.of(cut)).ends == "open"
    assert infer_schema(log(), EventSchema(gap="30m", ends="closed")).ends == "closed"


def test_a_missing_column_suggests_the_right_one() -> None:
    with pytest.raises(SchemaError, match=r"no column usr_id \(events.entity\); did you mean user_id"):
        infer_schema(log(), EventSchema(entity="usr_id"))


def test_lists_are_refused() -> None:
    source = EventSource.from_frame(pl.DataFrame({"user": ["a"], "tags": [["x", "y"]]}))
    with pytest.raises(SchemaError, match=r"column tags .* holds no single values"):
        infer_schema(source, EventSchema(categorical="tags"))


def test_nobody_must_be_said() -> None:
    source = EventSource.from_frame(pl.DataFrame({"what": ["a", "b"] * 20, "value": np.arange(40.0)}))
    with pytest.raises(SchemaError, match="cannot tell whose events"):
        infer_schema(source)
    schema = infer_schema(source, EventSchema(entity=None))
    assert (schema.sequence, schema.inputs) == (None, ("what", "value"))


def test_a_gap_needs_a_time() -> None:
    with pytest.raises(SchemaError, match="gap needs a time"):
        infer_schema(log(), EventSchema(gap="30m", time=None))


@pytest.mark.parametrize(("scale", "unit"), [(1, "s"), (1000, "ms"), (10**6, "us")])
def test_epochs_get_their_unit(scale: int, unit: str) -> None:
    source = log(timestamp=(1_700_000_000 + np.arange(N)) * scale)
    schema = infer_schema(source)
    assert (schema.time, schema.time_unit) == ("timestamp", unit)


@pytest.mark.parametrize(("name", "first", "time"), [("ts_ms", 1.7e12, "ts_ms"), ("time_on_page", 30, None)])
def test_numbers_that_are_dates_are_the_time(name: str, first: float, time: str | None) -> None:
    frame = pl.DataFrame({"user": np.arange(N) % 9, name: np.arange(N) + int(first)})
    assert infer_schema(EventSource.from_frame(frame)).time == time


def test_the_zone_of_a_column_is_its_clock() -> None:
    stamps = pl.Series([datetime(2024, 1, 1)] * N).dt.replace_time_zone("Asia/Tokyo")
    assert infer_schema(log(timestamp=stamps)).timezone == "Asia/Tokyo"


def test_fields_of_records_are_known_by_their_names() -> None:
    frame = pl.DataFrame(
        {"user": [{"id": k % 9} for k in range(N)], "event": [{"kind": "ab"[k % 2]} for k in range(N)]}
    )
    schema = infer_schema(EventSource.from_frame(frame))
    assert (schema.entity, schema.inputs) == ("user.id", ("event.kind",))


@pytest.mark.parametrize("name", ["uid", "UserName", "reviewerID", "patient_no"])
def test_people_go_by_many_names(name: str) -> None:
    rows = {name: np.arange(N) % 9, "event": ["ab"[k % 2] for k in range(N)]}
    assert infer_schema(EventSource.from_frame(pl.DataFrame(rows))).entity == name


def test_a_uid_of_each_row_is_its_id() -> None:
    rows = {"uid": np.arange(N), "user": np.arange(N) % 9, "event": ["ab"[k % 2] for k in range(N)]}
    schema = infer_schema(EventSource.from_frame(pl.DataFrame(rows)))
    assert (schema.id, schema.entity) == ("uid", "user")


def test_chinese_names_are_known() -> None:
    frame = pl.DataFrame(
        {
            "用户ID": [f"u{k % 7}" for k in range(200)],
            "下单时间": pl.datetime_range(datetime(2026, 1, 1), datetime(2026, 1, 9, 7), "1h", eager=True),
            "商品编号": [k % 70 for k in range(200)],
            "金额": [float(k) for k in range(200)],
            "是否欺诈": [k % 2 for k in range(200)],
        }
    )
    schema = infer_schema(EventSource.from_frame(frame))
    assert (schema.entity, schema.time) == ("用户ID", "下单时间")
    assert (schema.categorical, schema.numeric) == (("商品编号",), ("金额",))


def test_a_first_line_of_values_is_told() -> None:
    rows = pl.DataFrame({"u0": ["u1"] * N, "2025-01-01 10:00": ["2025-01-01 10:01"] * N, "12.5": [1.5] * N})
    with pytest.raises(SchemaError, match="is 2025-01-01 10:00 a name"):
        infer_schema(EventSource.from_frame(rows))


def test_of_many_columns_some_are_told() -> None:
    frame = pl.DataFrame({f"f{k}": [k] for k in range(300)})
    with pytest.raises(SchemaError, match=r"f29, \.\.\. \(events") as raised:
        infer_schema(EventSource.from_frame(frame))
    assert len(str(raised.value)) < 500


def test_labels() -> None:
    assert all(map(looks_like_label, ["label", "is_fraud", "Class", "anomaly_type", "split"]))
    assert not any(map(looks_like_label, ["event", "amount", "labelled_price", "classic"]))


def test_a_text_of_dates_is_the_time_whatever_it_is_called() -> None:
    rng = np.random.default_rng(0)
    told = {"Nutzer": rng.integers(0, 9, N), "Jahr": [str(y) for y in rng.integers(1990, 2020, N)]}
    zeit = [f"{1 + k % 28:02}.03.2024 12:{k % 60:02}" for k in range(N)]
    source = EventSource.from_frame(pl.DataFrame({**told, "Zeit": zeit}))
    assert infer_schema(source, EventSchema(entity="Nutzer")).time == "Zeit"


def test_columns_that_are_left_out_say_why() -> None:
    told = {"betrag": [f"{k + 1},{k % 100:02} €" for k in range(N)], "tag": [f"{k % 12 + 1}/31/2024" for k in range(N)]}
    told["seen"] = [f"2024-01-{k % 31 + 1:02} 12:{k % 60:02}" for k in range(N)]
    source = log(**told, nothing=pl.Series([None] * N, dtype=pl.String))
    found = left_out(source, EventSchema(user := "user_id", time="timestamp", categorical="device", numeric="amount"))
    assert user not in found and "device" not in found
    assert "label" in found["is_fraud"] and "split" in found["split"]
    assert found["currency"] == "has one value" and found["comment"] == "hardly a value comes twice"
    assert found["nothing"] == "is empty"
    assert found["seen"] == "is a further time"
    assert "1234.5" in found["betrag"] and "2025-01-31 17:05" in found["tag"]


def test_numbers_that_count_the_rows_are_no_inputs() -> None:
    # A counter of tomorrow lies beyond all of today's, whatever the events are.
    rng = np.random.default_rng(0)
    counted = 7 * np.arange(N) + rng.integers(0, 5, N)
    counted[10::40] += 500  # of rows that came late
    told = {"Buchung": counted, "cents": rng.permutation(100_000)[:N]}
    schema = infer_schema(log(**told))
    assert "cents" in schema.names("numeric") and "Buchung" not in schema.inputs
    assert "Buchung" in infer_schema(log(**told), EventSchema(numeric="Buchung")).inputs


@pytest.mark.parametrize("text", ["1,234.50", "1.234,50", "$12", "€ 1 234", "12 %", "-3,5", "1'000", "12 EUR"])
def test_numbers_as_people_write_them(text: str) -> None:
    assert looks_like_number(text)


@pytest.mark.parametrize("text", ["a", "1,23,4x", "2024-01-31", "", "1.2.3.4", "A-1", "0x1f"])
def test_other_text_is_no_number(text: str) -> None:
    assert not looks_like_number(text)


def test_long_sequences_end_open() -> None:
    def ends(lengths: list[int], **stated: str) -> str:
        session = np.repeat(np.arange(len(lengths)), lengths)
        np.random.default_rng(0).shuffle(session)
        events = np.random.default_rng(1).choice(["move", "click"], len(session))
        table = pl.DataFrame({"session_id": session, "n": events})
        return infer_schema(EventSource.from_frame(table), EventSchema.of(stated)).ends

    assert ends([1001, 1200, 1500]) == ends([1001] * 60 + [2] * 59) == "open"
    assert ends([1000, 1000, 9000]) == ends([2] * 60 + [1500] * 59) == "closed"
    assert ends([1001, 1200, 1500], ends="closed") == "closed"


def test_a_column_of_numbers_with_some_text_is_named_as_that():
    n = 100
    frame = pl.DataFrame(
        {
            "user_id": [f"u{k % 10}" for k in range(n)],
            "timestamp": pl.datetime_range(pl.datetime(2025, 1, 1), pl.datetime(2025, 1, 5, 3), "1h", eager=True)[:n],
            "amount": ["n/a" if k % 20 == 7 else f"{k}.5" for k in range(n)],
        }
    )
    source = EventSource.from_frame(frame)
    found = left_out(source, EventSchema("user_id", time="timestamp", categorical=None, numeric=None))
    assert found["amount"].startswith("holds numbers and text such as 'n/a'")
