"""Entities that nobody knows, and known ones shown as such."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anomaly.sequences.store import FIRST_VALUE, RARE, UNKNOWN, Field, SequenceStore
from anomaly.sequences.strangers import Acquaintance, as_strangers, private_codes

DEVICES, KINDS = 12, 3


def visits(rare: bool = False) -> SequenceStore:
    """Return three visits of each of four entities; entity e has the devices 3e to 3e + 2, kinds are everybody's."""
    entity = np.repeat(np.arange(1, 5), 3).astype(np.int32)
    owner = np.repeat(entity, 4)
    device = 3 * (owner - 1) + np.arange(48) % 3
    codes = np.stack([FIRST_VALUE + device, FIRST_VALUE + np.arange(48) % KINDS], axis=1)
    if rare:
        codes[::6, 0] = RARE
    fields = (Field("device", "categorical", FIRST_VALUE + DEVICES), Field("kind", "categorical", FIRST_VALUE + KINDS))
    return SequenceStore.from_codes(codes, np.full(12, 4), fields=fields, entity=entity)


def test_private_is_what_one_entity_alone_has() -> None:
    X = visits()
    assert private_codes(X, 0, X.entity)[FIRST_VALUE:].all()
    assert not private_codes(X, 1, X.entity).any()


def test_values_without_a_code_are_as_private_as_the_rarest_that_have_one() -> None:
    X = visits(rare=True)
    assert private_codes(X, 0, X.entity)[RARE]
    kinds = replace(X, codes=np.where(X.codes == FIRST_VALUE, RARE, X.codes))
    assert not private_codes(kinds, 1, X.entity)[RARE]


def test_strangers_keep_what_is_everybodys() -> None:
    X = visits()
    shown = as_strangers(X.take([0, 5]), X)
    assert (shown.codes[:, 0] == UNKNOWN).all() and not shown.entity.any()
    np.testing.assert_array_equal(shown.codes[:, 1], X.take([0, 5]).codes[:, 1])
    assert X.entity.all()


def test_without_entities_each_sequence_is_one() -> None:
    X = replace(visits(), entity=np.zeros(12, np.int32), n_entities=1, learnt=np.full(12, 3))
    shown = as_strangers(X, X)
    assert not shown.learnt.any()
    assert (shown.codes[:, 0] != UNKNOWN).all()


def test_who_is_known_by_one_sequence_is_a_stranger_in_it() -> None:
    X = visits()
    learnt = Acquaintance.of(X.take([0, 1, 3]))
    assert learnt.lacks(X).tolist() == [False] * 3 + [True, False, False] + [True] * 6
    assert learnt.lacks(replace(X, entity=X.entity + 7)).all()
    assert learnt.lacks(X.for_edits()).tolist() == learnt.lacks(X).tolist()


def test_a_history_that_is_learnt_in_part_vouches_for_its_owner() -> None:
    X = replace(visits().take([0, 3]), learnt=np.array([3, 3]))
    assert not Acquaintance.of(X).lacks(X).any()
