from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly.errors import ArtifactError, DataError
from anomaly.sequences.store import SequenceStore


def store() -> SequenceStore:
    codes = np.array([[3, 4], [4, 3], [3, 4], [5, 5], [3, 4], [4, 3]])
    return SequenceStore.from_codes(codes, [2, 1, 0, 3], values=np.arange(6, dtype=np.float32)[:, None])


def test_take_keeps_sequences_whole() -> None:
    made = store()
    part = made.take([3, 0, 3])
    assert part.lengths.tolist() == [3, 2, 3]
    assert part.values[:, 0].tolist() == [3, 4, 5, 0, 1, 3, 4, 5]
    assert part.sequence_ids.to_list() == [3, 0, 3]
    assert made.take(np.array([False, True, False, False])).codes.tolist() == [[3, 4]]
    assert len(made.take(np.zeros(0, np.int64))) == 0
    assert made.position().tolist() == [0, 1, 0, 0, 1, 2]
    assert made.sequence_of_event().tolist() == [0, 0, 1, 3, 3, 3]


def test_equal_content_has_equal_keys() -> None:
    made = store()
    made = replace(made, values=np.zeros((6, 1), np.float32))
    twin = made.take([0, 0, 1, 2, 3])
    keys = twin.keys()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert keys[0] == made.take([3, 0]).keys()[1]
    turned = replace(made, codes=made.codes[[1, 0, 2, 3, 4, 5]])
    assert turned.keys()[0] != made.keys()[0]


def test_an_empty_sequence_at_the_end_takes_no_event_from_the_one_before() -> None:
    codes = np.array([[3, 4, 5], [3, 4, 9]])
    alone, followed = ([SequenceStore.from_codes(row, n).keys()[0] for row in codes] for n in ([3], [3, 0]))
    assert followed == alone
    assert followed[0] != followed[1]


def test_the_longest_beginning_that_is_known_is_found() -> None:
    made = store()
    begun = made.keep_events(np.array([1, 0, 1, 1, 1, 0], bool))
    assert made.longest_known(np.sort(begun.keys())).tolist() == [1, 1, 0, 2]
    assert made.longest_known(np.sort(made.keys())).tolist() == made.lengths.tolist()
    other = made.take([3, 0, 1])
    assert other.longest_known(np.sort(begun.take([3]).keys())).tolist() == [2, 0, 0]
    assert other.longest_known(np.zeros(0, np.uint64)).tolist() == [0, 0, 0]


def test_what_was_learnt_goes_with_its_events() -> None:
    codes = np.full((12, 1), 3)
    made = replace(SequenceStore.from_codes(codes, [10, 2]), learnt=np.array([8, 0]))
    assert made.take([1, 0]).learnt.tolist() == [0, 8]
    assert made.keep_events(np.arange(12) % 2 == 1).learnt.tolist() == [4, 0]
    assert made.fold_of_event().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 9, 9]
    past = replace(made, context=np.array([3, 0])).fold_of_event()
    assert past[:4].tolist() == [4, 4, 4, 1]
    assert replace(made, learnt=None).fold_of_event().tolist() == [0] * 10 + [1] * 2


def test_the_silence_after_a_sequence_goes_with_its_last_event(tmp_path: Path) -> None:
    made = replace(store(), silence=np.array([5, 6, 7, 8], np.float32), pause=np.array([1, 2, 3, 4], np.float32))
    assert made.take([3, 1]).silence == pytest.approx([8, 6]) and made.take([3, 1]).pause == pytest.approx([4, 2])
    kept = made.keep_events(np.array([1, 0, 1, 1, 1, 1], bool))
    assert kept.lengths.tolist() == [1, 1, 0, 3] and kept.silence == pytest.approx([0, 6, 0, 8])
    opened = SequenceStore.open(made.save(tmp_path / "s"))
    assert opened.silence == pytest.approx([5, 6, 7, 8]) and opened.pause == pytest.approx([1, 2, 3, 4])
    assert SequenceStore.open(store().save(tmp_path / "none")).silence is None


def test_saved_and_opened(tmp_path: Path) -> None:
    made = store()
    opened = SequenceStore.open(made.save(tmp_path / "s"))
    assert (opened.keys() == made.keys()).all()
    assert opened.fields == made.fields and opened.sequence_ids.equals(made.sequence_ids)
    assert isinstance(opened.codes, np.memmap)
    assert opened.take([1]).codes.tolist() == [[3, 4]]


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    folder = store().save(tmp_path / "s")
    (folder / "codes.npy").unlink()
    with pytest.raises(ArtifactError, match="no complete sequence store"):
        SequenceStore.open(folder)


def test_lengths_must_fit() -> None:
    with pytest.raises(DataError, match="lengths sum to 3"):
        SequenceStore.from_codes(np.full(4, 3), [3])
