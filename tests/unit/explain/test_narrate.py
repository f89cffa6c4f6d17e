import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from anomaly.detectors.neural import NeuralDetector
from anomaly.events.binning import CLIP, MISSING, quantity
from anomaly.events.vocabulary import FIRST_VALUE
from anomaly.explain.axis import Axis
from anomaly.explain.contrast import compound
from anomaly.explain.deletion import without
from anomaly.explain.edits import smallest_edits
from anomaly.explain.expected import expected
from anomaly.explain.lookup import to_events
from anomaly.explain.narrate import Narrator
from anomaly.explain.reasons import Reason, code_of_feature, code_of_statistic, constant, severity
from anomaly.explain.sentences import SENTENCES, family, sentence, title
from anomaly.explain.values import restored
from anomaly.explain.words import amount, duration, edit_text, percent
from anomaly.report.casefigure import _figure, draw_story

DOCS = Path(__file__).parents[3] / "docs" / "reason_codes.md"


@pytest.fixture(scope="module")
def stories(explainer, explained):
    return Narrator(explainer, events=5).tell(explained)


def test_a_story_is_plain_json_whose_parts_add_up(stories):
    for story in stories:
        told = json.loads(json.dumps(story.to_dict(), default=str))
        assert sum(row["part"] for row in told["statistics"]) == pytest.approx(story.evidence, abs=1e-6)
        assert sum(told["fields"].values()) == pytest.approx(story.evidence, abs=1e-6)
        assert sum(row["share"] for row in told["reasons"]) <= 1 + 1e-9
        assert all(row["sentence"] for row in told["reasons"])
        assert 0 <= story.exact <= 1 and story.reasons


def test_a_number_is_told_itself_and_not_the_bin_that_the_model_reads(stories, explained, fitted):
    encoder, store = fitted[2], explained.store
    for n, story in enumerate(stories):
        for event in story.events:
            t = np.array([explained.offsets[n] + store.context[n] + event.position])
            value = float(restored(store, encoder, t)["amount"][0])
            assert event.values["amount"].removeprefix("≥ ") == ("missing" if np.isnan(value) else quantity(value))


def test_a_number_that_is_cut_off_is_told_as_a_bound_and_its_usual_range_with_it(explainer, explained, fitted):
    e, encoder = explained, fitted[2]
    amount = e.store.field_names.index("amount")
    t = int(np.flatnonzero(e.store.codes[: e.offsets[1], amount] != MISSING)[0])
    values = np.array(e.store.values)
    values[t, e.store.value_names.index("amount")] = CLIP
    part_T = np.zeros(len(values))
    part_T[t] = e.evidence_n[0]
    reasons, p = {("UNUSUAL_VALUE", "amount"): part_T}, {("UNUSUAL_VALUE", "amount"): e.p_value_n}
    # Of an owner whom nobody knows nothing is new, which would be told in place of the range.
    store = replace(e.store, values=values, entity=np.zeros_like(e.store.entity))
    odd = replace(e, store=store, reasons=reasons, reason_p=p).take(np.array([0]))
    largest = quantity(float(encoder.bins_["amount"].restore(np.float32([CLIP]))[0]))
    for language, told in (("en", "is out of its usual range"), ("zh", "超出通常范围")):
        sentence = Narrator(explainer, contrast=False, language=language).tell(odd)[0].sentences()[0]
        assert f"amount ≥ {largest}" in sentence and told in sentence


def test_events_say_what_was_likelier(stories):
    likelier = [x for story in stories for event in story.events for x in event.expected]
    assert likelier and all(x.probability > x.own for x in likelier)


def test_expectations_are_those_the_surprisal_comes_from(fitted, odd):
    ensemble, store, _ = fitted
    expects_what_it_scores(ensemble.bank_.event_members_["next_event"], store.take(odd))


def test_expectations_come_from_the_pieces_that_a_transformer_scores(fitted, odd):
    """Read whole, a long history takes memory by its square, and each event would know more than it was scored by."""
    options = {"width": 16, "heads": 2, "max_epochs": 1, "accelerator": "cpu", "longest": 4}
    member, X = NeuralDetector(cell="transformer", **options).fit(fitted[1]), fitted[1].take(odd)
    assert (X.lengths > 8).any()
    expects_what_it_scores(member, replace(X, context=np.minimum(X.lengths - 1, 1)))


def expects_what_it_scores(member, X):
    places = np.flatnonzero(X.position() >= np.repeat(X.context, X.lengths))[::2]
    found, surprisal = expected(member, X, places), member.residuals(X).surprisal_TF
    for f, field in enumerate(X.field_names):
        np.testing.assert_allclose(-np.log(found[field].own), surprisal[places, f], rtol=1e-3, atol=1e-3)
        assert (np.diff(found[field].p, axis=1) <= 0).all()


def test_an_edit_is_verified_by_scoring_again(fitted, odd, explained):
    ensemble, store, _ = fitted
    X = store.take(odd)
    for n, edit in enumerate(smallest_edits(ensemble, X, explained.p_value_n, explained.rank_T)):
        own = X.take([n])
        kept = np.ones(own.n_events, bool)
        kept[list(edit.dropped)] = False
        assert ensemble.score(without(own, kept)).p_value[0] == pytest.approx(edit.p_value, rel=1e-3)
        assert edit.enough == (edit.p_value >= 0.05)
        assert edit.p_value >= explained.p_value_n[n]


def test_the_nearest_usual_sequence_is_never_the_case_itself(explainer, fitted):
    sample = explainer.reference.sample.take(np.arange(5))
    places, distances = explainer.reference.nearest(sample)
    assert np.isfinite(distances).all()
    own, found = sample.keys(), fitted[1].take(places.ravel()).keys().reshape(places.shape)
    assert not (own[:, None] == found).any()


def test_nothing_is_alike_where_there_are_no_vectors(explainer, fitted, monkeypatch):
    from anomaly.explain.reference import Reference

    monkeypatch.setattr(Reference, "vectors", lambda self, X: np.zeros((len(X), 0)))
    reference = Reference(fitted[0], fitted[1])
    places, distances = reference.nearest(reference.sample.take(np.arange(3)))
    assert places.shape == distances.shape == (3, 0)


def test_the_value_whose_count_is_odd_is_named_and_counted(explainer, explained, fitted):
    e, field = explained, "device"
    column = e.store.field_names.index(field)
    counts = [k for k, name in enumerate(e.features.names) if name.startswith(f"{field}=")]
    for n in range(len(e.store)):
        assert (explainer.counted(e, n, field) == ()) == (not e.feature_nK[n, counts].any())
    codes = e.store.codes[e.offsets[0] : e.offsets[1], column]
    value = fitted[2].decode(field, codes[:1])[0]
    part_nK = np.zeros_like(e.feature_nK)
    names = [explainer._names.get(name, name) for name in e.features.names]
    part_nK[0, names.index(f"{field}={value}")] = e.evidence_n[0]
    reasons = {("VALUE_RATE", field): e.event_T}
    told = replace(e, feature_nK=part_nK, reasons=reasons, reason_p={("VALUE_RATE", field): e.p_value_n})
    story = Narrator(explainer, contrast=False).tell(told.take(np.array([0])))[0]
    count, length = int((codes == codes[0]).sum()), len(codes)
    assert story.sentences()[0].startswith(f"{field} is {value} in {count} of {length} events")
    story = Narrator(explainer, contrast=False, language="zh").tell(told.take(np.array([0])))[0]
    assert f"{length} 个事件中有 {count} 个的 {field} 为 {value}" in story.sentences()[0]


def test_a_value_of_the_past_is_not_new(fitted):
    store = fitted[1]
    f = store.field_names.index("device")
    owner = int(np.bincount(np.asarray(store.entity))[1:].argmax()) + 1
    own = np.flatnonzero(np.asarray(store.entity) == owner)
    n = int(own[store.lengths[own] >= 4][0])
    usual = int(np.bincount(store.codes[store.sequence_of_event() == own[own != n][0], f]).argmax())
    codes, events = np.array(store.codes), np.flatnonzero(np.isin(store.sequence_of_event(), own))
    codes[events, f] = usual
    store = replace(store, codes=codes)
    X = store.take([n])
    new = np.array(X.codes)
    new[1:, f] = usual + 1
    facts = {"n": 2, "about": "amount", "value": "9"}
    reasons = [Reason("UNUSUAL_VALUE", 1.0, 1.0, "high", "amount", facts)]

    def told(past: int) -> Reason:
        edited = replace(X, codes=new, context=np.array([past])).for_edits()
        reference = SimpleNamespace(store=store, own=lambda *_: own[own != n])
        return compound(reasons, reference, edited, 0, past, lambda t, name: f"{name}{t}")[0]

    assert (told(0).code, told(0).facts["n"], told(0).facts["value"]) == ("NEW_DEVICE_THEN_HIGH_VALUE", 2, "device1")
    assert told(1).facts["n"] == 1 and told(2).code == "UNUSUAL_VALUE"


def test_a_value_that_is_missed_is_named_whatever_else_is_explained(explainer, explained):
    codes, owner = explained.store.codes[:, 0], explained.store.sequence_of_event()
    code, n = next(
        (int(c), n)
        for c in np.unique(codes)
        for n in range(len(explained.store))
        if c >= FIRST_VALUE and c not in codes[owner == n]
    )
    name = explainer.encoder.decode("event", np.array([code]))[0]
    key = (f"{constant(name)}_RATE", "event")
    told = replace(explained, reasons={key: explained.event_T}, reason_p={key: explained.p_value_n})
    narrator = Narrator(explainer, contrast=False)
    alone = narrator.tell(told.take(np.array([n])))[0].sentences()
    assert alone == narrator.tell(told)[n].sentences() and alone[0].startswith(f"{name} makes up 0 of ")


def test_a_step_that_is_new_is_told_with_both_its_ends(explainer, explained, fitted):
    transitions, e = fitted[0].bank_.aggregates_.transitions_, explained
    codes = np.array(e.store.codes)
    known = set(transitions.pairs.tolist())
    before, after = next(
        (a, b)
        for a in range(FIRST_VALUE, 40)
        for b in range(FIRST_VALUE, e.store.fields[0].size)
        if a << 32 | b not in known
    )
    codes[1:3, 0] = before, after
    e = explainer.split(replace(e.store, codes=codes).take([0]))
    k = e.features.names.index("event.new_transition_share")
    part_nK = np.zeros_like(e.feature_nK)
    part_nK[0, k] = e.evidence_n[0]
    laid, _ = to_events(
        Axis.of(e.store), fitted[0].bank_.aggregates_, e.features, part_nK, np.zeros(part_nK.shape, np.int64)
    )
    assert laid[2].sum() > 0 and not laid[0].any() and laid.sum() == pytest.approx(e.evidence_n[0])
    key = ("NEW_STEP", "event")
    told = replace(e, reasons={key: laid.sum(axis=1) * (np.arange(len(laid)) == 2)}, reason_p={key: e.p_value_n})
    step = " > ".join(explainer.encoder.decode("event", np.array([before, after])))
    sentence = Narrator(explainer, contrast=False).tell(told)[0].sentences()[0]
    assert sentence == f"The step {step}, at event 3, is not known from others."


def test_every_code_has_a_sentence_in_both_languages_and_is_documented():
    documented = set(re.findall(r"^\| `([A-Z_*<>]+)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == {re.sub(r"\*", "<NAME>", code) for code in SENTENCES}
    for code, told in SENTENCES.items():
        assert title(code) and re.search("[\u4e00-\u9fff]", title(code, "zh"))
        for english, chinese in told:
            assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese))
        assert sentence(code.replace("*", "DEVICE"), {}).endswith(".")


def test_every_statistic_speaks_for_a_code(fitted):
    names = fitted[0].names_
    codes = {code_of_statistic(name, low)[0] for name in names for low in (True, False)}
    assert {"UNLIKE_OWN_HISTORY", "TRUNCATED", "UNUSUAL_GAP", "RARE_COMBINATION", "VALUE_UNLIKE_OWN_PAST"} <= codes
    assert all(family(code) in SENTENCES for code in codes)


@pytest.mark.parametrize(
    ("statistic", "code", "about"),
    [
        ("own_past.contrast.amount.largest", "VALUE_UNLIKE_OWN_PAST", "amount"),
        ("own_past.contrast.amount", "VALUE_UNLIKE_OWN_PAST", "amount"),
        ("own_past.crowd.amount", "UNUSUAL_VALUE", "amount"),
        ("next_event.high.amount", "UNUSUAL_VALUE", "amount"),
        ("own_past.contrast.device.entities", "SHARED_DEVICE", "device.entities"),
        ("next_event.gap", "UNUSUAL_GAP", ""),
    ],
)
def test_statistics_of_single_events_speak_for_a_code(statistic, code, about):
    assert code_of_statistic(statistic, low=False) == (code, about)


@pytest.mark.parametrize(
    ("feature", "high", "code"),
    [
        ("event=return", True, "RETURN_RATE"),
        ("device.entities.max", True, "SHARED_DEVICE"),
        ("gap.cv", False, "TIMING_TOO_REGULAR"),
        ("rate.log", True, "BURST"),
        ("rate.log", False, "LONG_SILENCE"),
        ("length.log", False, "TRUNCATED"),
        ("event=cart > order", True, "REPEATED_STEP"),
        ("event=cart > order", False, "MISSING_STEP"),
        ("event.new_transition_share", True, "NEW_STEP"),
        ("event.new_transition_share", False, "TOO_PREDICTABLE"),
        ("device.unknown_share", True, "RARE_EVENT"),
        ("amount.max", True, "UNUSUAL_VALUE"),
        ("hour=03h", True, "UNUSUAL_HOUR"),
        ("device.entropy", False, "MONOTONOUS"),
        ("embedding.7", True, "UNUSUAL_PROFILE"),
    ],
)
def test_a_feature_speaks_for_a_code(feature, high, code):
    fields = ("event", "device", "device.entities", "amount", "hour", "gap", "end")
    assert code_of_feature(feature, high, fields)[0] == code


def test_severity_follows_the_p_value():
    assert [severity(p) for p in (0.5, 0.01, 1e-5)] == ["low", "medium", "high"]


def test_words():
    assert [duration(s) for s in (0.5, 90, 7200)] == ["0.5 s", "1 min 30 s", "2 h"]
    assert [percent(p) for p in (0, 1e-6, 0.004, 0.5, 1)] == ["0%", "<0.01%", "0.4%", "50%", "100%"]
    edit = {"replaced": [], "dropped": [0, 2], "p_value": 0.3, "enough": True}
    assert edit_text(edit) == "without events 1, 3 (p = 0.3)"
    assert edit_text({**edit, "dropped": [], "enough": False}) == "by no small edit"
    assert edit_text(edit, "zh") == "去掉第 1, 3 个事件（p = 0.3）"
    assert duration(90, "zh") == "1 分钟 30 秒" and amount(1, "event", "zh") == "1 个事件"


@pytest.mark.parametrize("name", ["why.svg", "why.png"])
def test_a_story_is_drawn(stories, tmp_path, name):
    path = draw_story(stories[0], tmp_path / name)
    assert path.stat().st_size > 3000


def test_bars_are_equally_thick_however_few(stories):
    def inches(story):
        figure = _figure(story)
        figure.savefig(io.BytesIO(), format="svg")
        spans = [axes.get_window_extent().height / np.ptp(axes.get_ylim()) for axes in figure.axes]
        return [span / figure.dpi for span in spans]

    one = replace(stories[0], reasons=stories[0].reasons[:1], events=stories[0].events[:1])
    many = replace(stories[0], reasons=(*stories[0].reasons, *stories[1].reasons))
    assert inches(one) == pytest.approx(inches(many), rel=0.1)
