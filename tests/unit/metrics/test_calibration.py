import numpy as np
import pytest
from scipy.stats import kstest

from anomaly.errors import DataError
from anomaly.metrics import uniformity


def test_uniform_p_values_pass():
    result = uniformity(np.random.default_rng(0).random(20_000))
    assert result["ks_p_value"] > 0.05
    assert all(row["holds"] for row in result["rates"])
    assert [row["nominal"] for row in result["rates"]] == [0.001, 0.01, 0.05, 0.1]


def test_too_many_false_alarms_are_seen():
    result = uniformity(np.random.default_rng(0).random(20_000) ** 2)
    assert result["ks_p_value"] < 1e-6
    assert not any(row["holds"] for row in result["rates"])
    assert result["rates"][1]["observed"] == pytest.approx(0.1, abs=0.01)


def test_distance_is_that_of_scipy():
    p = np.random.default_rng(3).beta(0.7, 1.2, 500)
    assert uniformity(p)["ks"] == pytest.approx(kstest(p, "uniform").statistic)


@pytest.mark.parametrize("p", [[], [0.5, np.nan], [0.5, 1.5], [-0.1, 0.5]])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        uniformity(p)
