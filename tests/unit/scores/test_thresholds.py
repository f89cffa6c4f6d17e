import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from anomaly.errors import ConfigError, DataError, NotFittedError
from anomaly.scores.thresholds import (
    Budget,
    Contamination,
    Cost,
    FalseDiscoveryRate,
    FalsePositiveRate,
    upper_quantile,
)

ALONE = [
    Budget(rate=0.02),
    Budget(rate=0.0001),
    FalsePositiveRate(rate=0.02),
    Cost(miss=20, alarm=1, prevalence=0.02),
    Contamination(rate=0.02),
]
TOGETHER = [Budget(count=7), FalseDiscoveryRate(rate=0.1), FalseDiscoveryRate(rate=0.1, storey=0.5)]


def draw(n, seed):
    p = 1 - np.random.default_rng(seed).random(n)
    return -np.log10(p), p


def fitted(policy, n=2000, seed=0):
    return clone(policy).fit(*draw(n, seed))


@pytest.mark.parametrize("policy", ALONE, ids=str)
@given(seed=st.integers(0, 999), n=st.integers(1, 300))
@settings(deadline=None, max_examples=15)
def test_an_item_is_flagged_alone_as_in_company(policy, seed, n):
    policy, (scores, p) = fitted(policy), draw(n, seed)
    assert not policy.depends_on_file
    alone = np.concatenate([policy.flag(scores[k : k + 1], p[k : k + 1]) for k in range(n)])
    assert np.array_equal(policy.flag(scores, p), alone)


@pytest.mark.parametrize("policy", ALONE + TOGETHER, ids=str)
@given(seed=st.integers(0, 999))
@settings(deadline=None, max_examples=15)
def test_a_higher_score_is_never_flagged_less(policy, seed):
    scores, p = draw(500, seed)
    flagged = fitted(policy).flag(scores, p)[np.argsort(scores)]
    assert (np.diff(flagged.astype(int)) >= 0).all()


@pytest.mark.parametrize("policy", TOGETHER, ids=str)
def test_those_that_look_at_the_file_say_so(policy):
    assert policy.depends_on_file
    assert fitted(policy).summary()["depends_on_file"]


@pytest.mark.parametrize("kind", [Budget, FalsePositiveRate, Contamination])
@pytest.mark.parametrize("rate", [0.002, 0.01, 0.1])
def test_rate_holds_on_fresh_draws(kind, rate):
    fresh = draw(50_000, 999)
    shares = [fitted(kind(rate=rate), seed=seed).flag(*fresh).mean() for seed in range(40)]
    assert np.mean(shares) == pytest.approx(rate, rel=0.25)


def test_budget_is_exact_in_expectation_for_few_references():
    """Averaged over reference sets, k of n + 1 exchangeable items exceed the k-th largest."""
    rng = np.random.default_rng(0)
    shares = [np.exp(-upper_quantile(rng.exponential(size=19), 0.05)) for _ in range(4000)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.003)


def test_budget_goes_on_past_the_last_reference_score():
    scores, p = draw(500, 0)
    cuts = [Budget(rate=rate).fit(scores, p).threshold_ for rate in (0.01, 1 / 501, 1e-3, 1e-4, 1e-5)]
    assert cuts[1] == pytest.approx(scores.max())
    assert np.all(np.diff(cuts) > 0)
    assert cuts[-1] == pytest.approx(5, abs=1.0)


def test_budget_of_a_count_flags_that_many():
    scores = np.array([1.0, 3.0, 3.0, 2.0, 3.0])
    policy = Budget(count=2).fit(*draw(50, 0))
    assert policy.flag(scores, 10**-scores).tolist() == [False, True, True, False, False]
    assert Budget(count=9).fit(*draw(50, 0)).flag(scores, 10**-scores).all()
    assert not Budget(count=0).fit(*draw(50, 0)).flag(scores, 10**-scores).any()


@pytest.mark.parametrize("storey", [None, 0.5])
def test_false_discoveries_stay_below_their_rate(storey):
    policy, rng, shares, found = fitted(FalseDiscoveryRate(rate=0.2, storey=storey)), np.random.default_rng(0), [], []
    for _ in range(200):
        p = np.concatenate([rng.random(400), rng.beta(0.05, 1, 100)]).clip(1e-12, 1)
        flagged = policy.flag(-np.log10(p), p)
        shares.append(flagged[:400].sum() / max(flagged.sum(), 1))
        found.append(flagged[400:].mean())
    assert np.mean(shares) < 0.2 + 0.01
    assert np.mean(shares) == pytest.approx(0.16 if storey is None else 0.2, abs=0.02)
    assert np.mean(found) > 0.7


def test_false_discovery_rate_follows_benjamini_and_hochberg():
    # Their 1995 example: 15 p-values, rate .05, the four smallest are rejected.
    text = "1e-4 4e-4 .0019 .0095 .0201 .0278 .0298 .0344 .0459 .324 .4262 .5719 .6528 .759 1"
    p = np.array(text.split(), float)
    flagged = fitted(FalseDiscoveryRate(rate=0.05)).flag(-np.log10(p), p)
    assert flagged.tolist() == [True] * 4 + [False] * 11


def test_cost_is_least_at_its_cut():
    policy = fitted(Cost(miss=50, alarm=1, prevalence=0.02, auroc=0.9))
    a, p = 1 / 9, np.geomspace(1e-8, 1, 4001)
    expected = 50 * 0.02 * (1 - p**a) + 1 * 0.98 * p
    assert policy.p_threshold_ == pytest.approx(p[np.argmin(expected)], rel=0.01)
    assert fitted(Cost(miss=5, alarm=1, prevalence=0.02)).p_threshold_ < policy.p_threshold_


def test_contamination_is_the_quantile():
    scores, p = draw(1000, 0)
    policy = Contamination(rate=0.05).fit(scores, p)
    assert policy.threshold_ == np.quantile(scores, 0.95)
    assert policy.flag(scores, p).sum() == 50


@pytest.mark.parametrize("policy", ALONE + TOGETHER, ids=str)
@pytest.mark.parametrize("n", [1, 2, 19])
def test_few_or_equal_references_and_empty_files(policy, n):
    policy = clone(policy).fit(np.ones(n), np.full(n, 0.1))
    flagged = policy.flag(np.ones(5), np.full(5, 0.1))
    assert flagged.dtype == np.bool_
    assert flagged.shape == (5,)
    assert policy.flag(np.empty(0), np.empty(0)).shape == (0,)
    assert all(isinstance(v, str | int | float | bool) for v in policy.summary().values())


@pytest.mark.parametrize("policy", ALONE + TOGETHER, ids=str)
def test_bad_input_is_named(policy):
    with pytest.raises(NotFittedError, match="call fit first"):
        clone(policy).flag(*draw(3, 0))
    with pytest.raises(DataError, match="no held-out item"):
        clone(policy).fit(np.empty(0), np.empty(0))
    with pytest.raises(DataError, match="finite"):
        fitted(policy).flag(np.array([np.nan]), np.array([0.5]))
    with pytest.raises(DataError, match="equal length"):
        fitted(policy).flag(np.ones(2), np.ones(3))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Budget(rate=0), "threshold.rate=0"),
        (Budget(count=-1), "threshold.count=-1"),
        (FalsePositiveRate(rate=1.5), "threshold.rate=1.5"),
        (FalseDiscoveryRate(storey=1), "threshold.storey=1"),
        (Cost(miss=0), "threshold.miss=0"),
        (Cost(prevalence=1), "threshold.prevalence=1"),
        (Cost(auroc=0.4), "threshold.auroc=0.4"),
        (Contamination(rate=-0.1), "threshold.rate=-0.1"),
    ],
)
def test_settings_out_of_range_are_named(policy, message):
    with pytest.raises(ConfigError, match=message):
        policy.fit(*draw(10, 0))


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (
            Budget(rate=0.01),
            "of 30 held-out items none marks a rate of 0.01 (99 would), so it lies",
        ),
        (Budget(rate=0.1), "the highest score, 0.000, does not pass the threshold"),
        (Budget(count=0), "threshold.count=0"),
        (FalsePositiveRate(rate=0.02), "the smallest p-value, 1, is above 0.02"),
        (FalseDiscoveryRate(rate=0.1), "the smallest p-value, 1, is above 0.02 (0.1 over 5)"),
        (Cost(), "the smallest p-value, 1, is above"),
        (Contamination(rate=0.1), "does not pass the threshold"),
    ],
    ids=str,
)
def test_a_policy_says_why_it_flags_nothing(policy, told):
    policy = fitted(policy, n=30)
    assert told in policy.why_none(np.zeros(5), np.ones(5))
    assert policy.why_none(np.zeros(0), np.zeros(0)) in ("nothing was scored", "")
    if policy.get_params().get("count") != 0:
        assert policy.why_none(np.full(5, 9.0), np.full(5, 1e-9)) == ""


def test_a_rate_that_is_met_among_the_held_out_does_not_blame_their_number():
    assert "held-out" not in fitted(Budget(rate=0.01), n=99).why_none(np.zeros(5), np.ones(5))
