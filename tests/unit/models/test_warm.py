"""An older model's weights in one whose vocabularies have grown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from anomaly.errors import ConfigError
from anomaly.models.next_event import NextEventModel
from anomaly.models.warm import WarmStart
from anomaly.sequences.batch import scoring_batches
from anomaly.sequences.replay import appended, recoded
from anomaly.sequences.store import Field, SequenceStore

MAPS = [np.array([0, 1, 2, 3, 6]), np.array([0, 1, 2, 3])]


def store(sizes: tuple[int, int], codes: int, entities: int = 3) -> SequenceStore:
    rng = np.random.default_rng(codes)
    fields = [Field("a", "categorical", sizes[0]), Field("b", "categorical", sizes[1])]
    return SequenceStore.from_codes(
        rng.integers(3, codes, (40, 2)),
        np.full(10, 4),
        fields=fields,
        delta=np.ones(40, np.float32),
        entity=np.arange(10) % entities,
    )


def model(X: SequenceStore, width: int = 8) -> NextEventModel:
    with torch.random.fork_rng():
        torch.manual_seed(len(X.fields) + X.sizes[0])
        return NextEventModel.for_store(X, width=width).eval()


def test_old_codes_are_read_as_before() -> None:
    before, after = store((5, 4), 4), store((7, 6), 6, entities=4)
    old, new = model(before), model(after)
    WarmStart(old, MAPS).load_into(new)
    (batch, _), *_ = scoring_batches(before, 1000)
    (moved, _), *_ = scoring_batches(recoded(before, MAPS, after), 1000)
    with torch.no_grad():
        torch.testing.assert_close(new.embed(moved), old.embed(batch))


def test_what_one_ensemble_learnt_is_not_taken_for_what_another_did() -> None:
    before, after = store((5, 4), 4), store((7, 6), 6)
    assert recoded(replace(before, learnt=before.lengths), MAPS, after).learnt is None


def test_a_model_of_another_shape_is_refused() -> None:
    X = store((5, 4), 4)
    with pytest.raises(ConfigError, match="give the model the shape"):
        WarmStart(model(X, width=8), [np.arange(5), np.arange(4)]).load_into(model(X, width=4))


def test_rehearsed_sequences_come_behind_the_new_ones() -> None:
    before, after = store((5, 4), 4), store((7, 6), 6)
    both = WarmStart(model(before), MAPS, recoded(before, MAPS, after)).rehearse(after)
    assert len(both) == 20 and both.sizes == after.sizes
    assert np.array_equal(both.codes[:40], after.codes)
    assert np.array_equal(both.take(np.arange(10, 20)).codes[:, 0], MAPS[0][before.codes[:, 0]])
    assert len(appended(after, after).sequence_ids.unique()) == 20


def test_cloning_a_detector_does_not_copy_it() -> None:
    start = WarmStart(model(store((5, 4), 4)), MAPS)
    assert clone(start) is start


def test_an_entity_that_is_not_learnt_from_is_as_good_as_unknown() -> None:
    X = store((5, 4), 4, entities=4)
    profile = NextEventModel.for_store(X.take(X.entity != 2), width=8).profile
    assert profile is not None
    assert not profile.weight[2].any() and profile.weight[1].any()
