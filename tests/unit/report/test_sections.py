from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from anomaly.report import Case, sections
from anomaly.report.cases import top_cases
from anomaly.report.page import render
from anomaly.report.svg import Sheet
from anomaly.scores.thresholds import Budget, Contamination, Cost, FalseDiscoveryRate, FalsePositiveRate


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Budget(rate=0.01), "by an alert budget of 1%, a score above 2.00"),
        (Budget(count=50), "as the 50 highest scores of this file"),
        (FalsePositiveRate(rate=0.001), "at a false-alarm rate of at most 0.1%, a score at least 3.00"),
        (FalseDiscoveryRate(rate=0.1), "at a false-discovery rate of at most 10% within this file"),
        (Contamination(rate=0.02), "by an assumed contamination of 2%, a score above 1."),
        (
            Cost(miss=50, prevalence=0.01),
            "where a miss (cost 50) is dearer than an alarm (cost 1), if 1% are anomalous",
        ),
    ],
)
def test_every_policy_is_said_in_words(policy, text):
    p = (np.arange(500) + 1) / 501
    said = sections.threshold_text(policy.fit(-np.log10(p), p).summary())
    assert said.startswith(text)


def test_unknown_policy_is_said_too():
    assert sections.threshold_text({}) == "by the run's threshold"
    assert sections.threshold_text({"policy": "mine", "threshold": 2.5}) == "by a score above 2.50"


def test_other_thresholds_are_counted(data):
    levels = sections.distribution(data, Sheet())["levels"]
    for row, level in zip(levels, sections.LEVELS, strict=True):
        assert row["found"] == str(int((data.scores["p_value"] <= level).sum()))


def test_field_of_the_oddest_event_of_each_flagged_sequence(data):
    scores = pl.DataFrame({"sequence": ["a", "b", "c"], "flagged": [True, True, False]})
    events = pl.DataFrame(
        {
            "sequence": ["a", "a", "b", "c"],
            "score": [1.0, 2.0, 0.5, 9.0],
            "field": ["amount", "device", "device", "hour"],
        }
    )
    rows = sections.carrying_fields(replace(data, scores=scores, event_scores=events))
    assert rows == [{"field": "device", "count": 2, "share": 1.0}]


def test_members_are_by_weight_and_judged_where_labels_are(data):
    rows = sections.members(data)["rows"]
    assert [row["member"] for row in rows] == ["gru", "lof"]
    assert rows[0]["auroc"] > rows[1]["auroc"]
    assert [row["bar"] for row in rows] == [1.0, 0.25]
    assert not sections.members(replace(data, metrics=None))["judged"]


def test_power_has_intervals(data):
    rows = sections.power(data)
    assert [row["kind"] for row in rows] == ["shuffle", "skip"]
    assert all(row["low"] < row["found"] < row["high"] for row in rows)


def test_kinds_of_trouble_are_told_in_words():
    from anomaly.commands.compose import compose

    assert set(compose("train", ["run=x", "events.path=x"]).values["corruption"]) == {*sections.TROUBLE, "scramble"}
    words = ["device taken from elsewhere", "the time since the event before taken from elsewhere", "mine"]
    assert [sections.trouble(kind) for kind in ("scramble.device", "scramble.gap", "mine")] == words


def test_training_needs_an_axis_and_a_loss(data):
    sheet = Sheet()
    assert sections.training(replace(data, training=[{"epoch": 1, "lr": 0.1}]), sheet) is None
    assert sections.training(replace(data, training=[{"train_loss": 1.0}]), sheet) is None
    said = sections.training(data, sheet)["text"]
    assert said == "Ended at epoch 3 with train_loss 4, validation_loss 4.25."


def test_case_shares_are_of_the_whole_sequence_only(data):
    row = data.scores.sort("rank").row(0, named=True)
    events = [(k, "", {"event": "view"}, float(k), "event") for k in range(20)]
    for length, whole in ((20, True), (500, False)):
        case = Case(row["sequence"], row["entity"], 1, row["score"], row["p_value"], events, length)
        first = top_cases(replace(data, timelines=[case]))[0]
        assert [event["position"] for event in first["events"]] == list(range(12, 20))
        assert first["whole"] is whole
        assert (first["events"][-1]["share"] == pytest.approx(0.1)) if whole else first["events"][-1]["share"] is None


def test_no_pictures_over_time_without_dates(data):
    sheet = Sheet()
    assert sections.over_time(data, sheet)
    assert sections.over_time(replace(data, scores=data.scores.drop("last_time")), sheet) is None
    assert sections.over_time(replace(data, scores=data.scores.with_columns(flagged=False)), sheet) is None
    zoned = data.scores.with_columns(pl.col("last_time").dt.replace_time_zone("UTC"))
    assert sections.over_time(replace(data, scores=zoned), sheet)
    assert sections.over_time(replace(data, scores=data.scores.with_columns(pl.col("last_time").dt.date())), sheet)
    assert sections.over_time(replace(data, scores=data.scores.with_columns(last_time=5)), sheet) is None


def test_columns_left_out_and_the_lack_of_alerts_are_told_with_their_reasons(data):
    page = render(replace(data, left_out={"note": "hardly a value comes twice"}, no_alert="the highest score is low"))
    assert "Columns left out" in page and "hardly a value comes twice" in page
    assert "No alert: the highest score is low." in page
    page = render(data)
    assert "Columns left out" not in page and "No alert" not in page


def test_what_labels_have_decided_is_a_section_of_its_own(data):
    page = render(replace(data, learnt=["weights: <b>ngram</b> 60%"]))
    assert '<section id="learnt">' in page and "weights: &lt;b&gt;ngram&lt;/b&gt; 60%" in page
    assert 'id="learnt"' not in render(data)
