import pytest

from anomaly.errors import SchemaError
from anomaly.events.schema import AUTO, EventSchema, seconds


@pytest.mark.parametrize(("text", "expected"), [("1h30m", 5400), ("7d", 604800), (90, 90), ("9ms", 0.009)])
def test_durations(text: str | float, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "m30", "30 parsecs", 0, "-5m"])
def test_wrong_durations_are_refused(text: str | float) -> None:
    with pytest.raises(SchemaError, match="duration"):
        seconds(text)


def test_open_and_none_are_told_apart() -> None:
    schema = EventSchema.of({"entity": None, "categorical": "event"})
    assert schema.entity is None
    assert schema.sequence == AUTO
    assert schema.categorical == ("event",)
    assert not schema.complete
    assert schema.overrides() == ["events.entity=null", "events.categorical=[event]"]


def test_overrides_state_the_schema() -> None:
    schema = EventSchema(entity="user id", order=("a", "b"), numeric=None, gap="30m", shared=("device",))
    assert schema.overrides() == [
        "events.entity='user id'",
        "events.order=[a,b]",
        "events.numeric=[]",
        "events.shared=[device]",
        "events.gap=30m",
    ]


def test_two_ways_to_cut_are_refused() -> None:
    with pytest.raises(SchemaError, match="both cut"):
        EventSchema(gap="30m", window=10)
    with pytest.raises(SchemaError, match="both cut"):
        EventSchema(sequence="s", window=10)


def test_a_column_in_two_input_roles_is_refused() -> None:
    with pytest.raises(SchemaError, match="both in"):
        EventSchema(categorical="x", numeric="x")


def test_the_end_of_what_was_observed_is_a_time() -> None:
    assert EventSchema().end_of_time is None
    assert EventSchema(until="1970-01-02").end_of_time == 86_400_000_000
    assert EventSchema(until=5, time_unit="ms").end_of_time == 5_000
    assert EventSchema(until="1970-01-02", timezone="Europe/Berlin").end_of_time == 82_800_000_000
    with pytest.raises(SchemaError, match=r"events\.until=soon is no time"):
        EventSchema(until="soon")


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"events\.entty is no role"):
        EventSchema.of({"entty": "user"})


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(SchemaError, match="twice"):
        EventSchema(categorical=("a", "a"))
