import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from anomaly.errors import DataError
from anomaly.metrics import at_budget, at_count, auroc, average_precision, rank_curve

pairs = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@given(pairs)
@settings(deadline=None, max_examples=30)
def test_areas_agree_with_scikit_learn_under_ties(rows):
    labels, scores = np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], float)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_constant_score_is_worth_nothing():
    labels = np.array([1, 0, 0, 0])
    assert auroc(labels, np.zeros(4)) == 0.5
    assert average_precision(labels, np.zeros(4)) == 0.25


@given(pairs, st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_at_count_is_the_expectation_over_orders_of_a_tie(rows, count):
    labels, scores = np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], float)
    count = min(count, len(rows))
    cut = np.sort(scores)[-count]
    above, tied = scores > cut, scores == cut
    expected = labels[above].sum() + labels[tied].mean() * (count - above.sum())
    got = at_count(rank_curve(labels, scores), count)
    assert got.found == pytest.approx(expected)
    assert got.precision == pytest.approx(expected / count)
    assert got.recall == pytest.approx(expected / labels.sum())


@pytest.mark.parametrize(("rate", "count"), [(0.001, 1), (0.01, 1), (0.05, 5), (0.051, 6), (1.0, 100)])
def test_budget_rounds_up_and_looks_at_one_at_least(rate, count):
    labels = np.repeat([1, 0], [10, 90])
    assert at_budget(rank_curve(labels, np.arange(100.0)), rate).count == count


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 0], [1.0, 2.0], "0 anomalous and 2 normal"),
        ([1, 1], [1.0, 2.0], "2 anomalous and 0 normal"),
        ([1, -1], [1.0, 2.0], "label -1"),
        ([1, 0], [1.0, np.nan], "1 of 2 scores are not finite"),
        ([1, 0], [1.0], "equal length"),
        ([], [], "0 anomalous and 0 normal"),
    ],
)
def test_what_cannot_be_judged_is_named(labels, scores, message):
    with pytest.raises(DataError, match=message):
        rank_curve(np.array(labels, int), np.array(scores))
