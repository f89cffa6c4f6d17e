"""The filter of the report in a real browser: at once, on a phone too, and within its policy."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anomaly.report import ReportData, Told, write_report

pytestmark = pytest.mark.browser
WIDTH = 390


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    n, rng = 100_000, np.random.default_rng(0)
    p = 1 - rng.random(n)
    names = [f"s{k:06d}" for k in range(n)]
    scores = pl.DataFrame({"sequence": names, "entity": [f"u{k % 999}" for k in range(n)], "score": -np.log10(p)})
    scores = scores.with_columns(p_value=p, flagged=p < 1e-3, rank=p.argsort().argsort() + 1)
    told = [Told("BURST", "burst", "high", 0.6, "fast"), Told("RARE_EVENT", "rare value", "low", 0.3, "rare")]
    top = scores.sort("rank")["sequence"].head(300).to_list()
    reasons = {name: told[k % 2 :] for k, name in enumerate(top)}
    clusters = [{"members": top[:20], "typical": top[:2], "reasons": [("burst", 0.6)]}]
    data = ReportData(title="page", scores=scores, reasons=reasons, clusters=clusters)
    path = write_report(data, tmp_path_factory.mktemp("page") / "report.html")
    assert path.stat().st_size < 10e6
    return path


def test_filters_narrow_the_list_without_delay(page, chromium):
    with chromium.new_context(viewport={"width": WIDTH, "height": 900}) as context:
        tab = context.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == WIDTH
        shown = tab.locator("#shown")
        tab.select_option("#reason", "BURST")
        assert shown.inner_text() == "150 of 300 shown"
        tab.select_option("#cluster", "1")
        assert shown.inner_text() == "10 of 300 shown"
        tab.click("button[type=reset]")
        tab.wait_for_function("document.getElementById('shown').textContent === ''")
        name = tab.locator(".case").nth(7).get_attribute("data-text").split()[0]
        tab.fill("#find", name)
        assert shown.inner_text() == "1 of 300 shown" and tab.locator(".case:visible").count() == 1
        tab.click("[data-pick='1']")
        assert shown.inner_text() == "20 of 300 shown"
        taken = tab.evaluate(
            "() => { const find = document.getElementById('find'), begun = performance.now();"
            "for (let k = 0; k < 20; k++) { find.value = 's' + k; find.dispatchEvent(new Event('input')); }"
            "return (performance.now() - begun) / 20; }"
        )
        assert taken < 300 and said == []
