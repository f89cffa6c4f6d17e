from dataclasses import replace

import numpy as np
import pytest

from anomaly.errors import DataError
from anomaly.sequences.split import chronological, entity_disjoint, latest_per_entity
from anomaly.sequences.store import SequenceStore


def store(entity: list[int], time: list[int] | None = None) -> SequenceStore:
    n = len(entity)
    made = SequenceStore.from_codes(
        np.full(2 * n, 3), [2] * n, entity=np.array(entity, np.int32), delta=np.ones(2 * n, np.float32)
    )
    return made if time is None else replace(made, time=np.repeat(np.array(time), 2))


@pytest.mark.parametrize("entity", [[0] * 19, list(range(19)), [1] * 19, [1, 2] + [3] * 17, [0, 0]])
@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("split", [latest_per_entity, chronological, entity_disjoint])
def test_both_sides_hold_something_and_nothing_is_lost(split: object, entity: list[int], fraction: float) -> None:
    fitted, held = split(store(entity), fraction)  # type: ignore[operator]
    assert len(fitted) and len(held)
    assert sorted([*fitted, *held]) == list(range(len(entity)))


def test_the_latest_of_each_entity_are_held_out() -> None:
    times = [5, 1, 2, 3, 4, 10, 20, 30, 40, 50]
    fitted, held = latest_per_entity(store([1] * 5 + [2] * 5, times), 0.4)
    assert held.tolist() == [0, 4, 8, 9]
    assert fitted.tolist() == [1, 2, 3, 5, 6, 7]


def test_the_share_holds_over_entities_with_few_sequences() -> None:
    _, held = latest_per_entity(store(list(np.repeat(np.arange(1, 101), 3))), 0.1)
    assert len(held) == 30


def test_the_share_holds_where_most_entities_have_one_sequence() -> None:
    entity = np.concatenate([np.arange(1, 901), np.repeat(np.arange(901, 951), 2)])
    fitted, held = latest_per_entity(store(list(entity)), 0.2)
    assert len(held) == pytest.approx(200, abs=12)
    assert set(range(901, 951)) <= set(entity[fitted])
    assert np.mean(entity[held] <= 900) == pytest.approx(0.9, abs=0.02)


def test_whole_entities_stay_together() -> None:
    entity = np.repeat(np.arange(10), 4)
    fitted, held = entity_disjoint(store(list(entity)), 0.3, random_state=3)
    assert not set(entity[fitted]) & set(entity[held])
    assert len(held) == 12
    assert entity_disjoint(store(list(entity)), 0.3, random_state=3)[1].tolist() == held.tolist()


def test_chronological_takes_the_last_to_end() -> None:
    assert chronological(store([0] * 4, [9, 1, 5, 3]), 0.25)[1].tolist() == [0]


def test_one_sequence_cannot_be_split() -> None:
    with pytest.raises(DataError, match="at least two"):
        latest_per_entity(store([0]))
    with pytest.raises(DataError, match="between 0 and 1"):
        chronological(store([0, 0]), 1.5)
