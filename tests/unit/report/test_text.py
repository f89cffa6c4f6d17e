import datetime as dt

import pytest

from anomaly.report.text import amount, clean, decimal, identity, p_value, percent, plain, share


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (1, "100%"), (0.0098, "0.98%"), (0.01, "1%"), (0.123, "12.3%"), (0.0001, "0.01%"), (None, "–")],
)
def test_share(value, text):
    assert share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (0.0123, "0.0123"), (4.3e-7, "4.3 × 10⁻⁷"), (1e-12, "1.0 × 10⁻¹²"), (0, "0"), (float("nan"), "–")],
)
def test_p_value(value, text):
    assert p_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (dt.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02 03:04:05"),
        (dt.datetime(2024, 1, 2, 3, 4), "2024-01-02 03:04"),
        (dt.datetime(2024, 1, 2), "2024-01-02"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        ([1, "a"], "1, a"),
    ],
)
def test_plain(value, text):
    assert plain(value) == text


def test_nouns_numbers_and_ids():
    assert [amount(n, "entity") for n in (0, 1, 1200)] == ["0 entities", "1 entity", "1,200 entities"]
    assert (decimal(1.2345), decimal(None), percent(0.5)) == ("1.23", "–", "50.0%")
    assert identity(1234567) == "1234567"


def test_hidden_characters_show_and_long_text_is_cut():
    assert clean("a\x00b\u202ec") == "a\ufffdb\ufffdc"
    assert clean("x" * 500, 10) == "x" * 9 + "…"
