"""The labelling page on screens of several sizes: nothing is cut off, hidden, or too pale to read."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from anomaly.active.labels import Label

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_both_themes_and_widths(serve, sit, scheme, tmp_path):
    from matplotlib.image import imread

    server = serve("leads=[ann]")
    for width in (1360, 390):
        screen = sit(server, color_scheme=scheme, viewport={"width": width, "height": 844})
        picture = imread(io.BytesIO(screen.page.screenshot(path=tmp_path / f"{scheme}_{width}.png")))[..., :3]
        assert (np.median(picture) > 0.9) == (scheme == "light")
        assert screen.page.evaluate(BEYOND) == []
        for verdict in ("anomalous", "normal", "unsure"):
            box = screen.page.locator(f"[data-say={verdict}]").bounding_box()
            assert box["y"] + box["height"] <= 844 and box["height"] >= 36
        assert contrast_troubles(screen.page) == []


REACHED = """verdict => {
  const button = document.querySelector(`[data-say=${verdict}]`), box = button.getBoundingClientRect();
  return [1, box.height - 1].every((y) => document.elementFromPoint(box.x + box.width / 2, box.y + y) === button);
}"""


@pytest.mark.parametrize("width", [1360, 400])
def test_verdicts_stay_in_reach_and_places_can_be_seen(serve, sit, width):
    screen = sit(serve(), viewport={"width": width, "height": 560})
    screen.page.keyboard.press("x")
    screen.page.wait_for_selector("dl.score:focus")
    assert all(screen.page.evaluate(REACHED, verdict) for verdict in ("anomalous", "normal", "unsure"))
    assert screen.page.locator(".place svg").first.bounding_box()["width"] > 100


BEYOND = """() => {
  const inside = (e) => e.closest(".scroll, .quiet") && !e.matches(".scroll");
  const found = [...document.querySelectorAll("body *")].filter((e) => !inside(e));
  const over = found.filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.className);
  return document.documentElement.scrollWidth > innerWidth ? [document.documentElement.scrollWidth, ...over] : over;
}"""
CONTRAST = """() => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number), unit = text.startsWith("color(") ? 255 : 1;
    return [found[0] * unit, found[1] * unit, found[2] * unit, found[3] ?? 1];
  };
  const part = (x) => (x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const ground = (e) => {
    const below = e.parentElement ? ground(e.parentElement) : [255, 255, 255, 1];
    return over(parse(getComputedStyle(e).backgroundColor), below);
  };
  const speaks = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility();
  const found = [];
  for (const e of [...document.querySelectorAll("body *:not(svg *)")].filter(speaks)) {
    const style = getComputedStyle(e), back = ground(e), front = over(parse(style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.6 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def contrast_troubles(page) -> list[str]:
    """Return the texts that stand out from their ground less than WCAG 2.2 AA asks for (4.5, large text 3)."""
    return page.evaluate(CONTRAST)


def judge_much(server) -> None:
    """Judge so much that it is time to stop, and leave one case to a lead."""
    ids = [str(item) for item in pl.read_parquet(server.run / "scores.parquet")["sequence"] if "<" not in str(item)]
    rows = [Label(item, "normal", "bob", policy="audit", probability=1 / len(ids)) for item in ids[:60]]
    server.log.extend([replace(rows[0], verdict="anomalous"), *rows[1:], Label(ids[1], "anomalous", "eve")])


SEEN = """selector => {
  const element = document.querySelector(selector), box = element.getBoundingClientRect();
  return [[1, 1], [box.width - 2, box.height - 2]].every(([x, y]) => {
    const top = document.elementFromPoint(box.x + x, box.y + y);
    return top && (element.contains(top) || top.contains(element));
  });
}"""


@pytest.mark.parametrize("size", [(1366, 768), (1280, 720), (390, 844)])
def test_what_asks_for_an_action_needs_no_scrolling(serve, sit, size):
    server = serve("leads=[ann]")
    judge_much(server)
    screen = sit(server, viewport=dict(zip(("width", "height"), size, strict=True)))
    page = screen.page
    asks = page.locator(".asks")
    assert "It is time to stop: the last 50 labels found nothing" in asks.inner_text().replace("\n", " ")
    assert page.evaluate(SEEN, ".asks") and asks.bounding_box()["y"] < 120
    if size[0] > 400:
        assert page.evaluate(SEEN, ".progress")
        page.evaluate("scrollTo(0, 1e6)")
        assert all(page.evaluate(REACHED, verdict) for verdict in ("anomalous", "normal", "unsure"))
        page.evaluate("scrollTo(0, 0)")
    assert page.evaluate(BEYOND) == [] and contrast_troubles(page) == []
    asks.get_by_role("button", name="1 case to settle").click()
    page.wait_for_selector("#dispute-list .verdict.anomalous")
    page.keyboard.press("Escape")
    bob = sit(server, "cleo").page
    assert "1 case waits for a lead" in bob.inner_text(".asks") and not bob.query_selector(".asks button")


def test_no_text_passes_between_the_rows_of_buttons(serve, sit):
    page = sit(serve(), viewport={"width": 390, "height": 844}).page
    fixed = page.evaluate(
        "[...document.querySelectorAll('.desk *')].filter((e) => getComputedStyle(e).position === 'fixed')"
        ".map((e) => e.getBoundingClientRect()).map((box) => [box.top, box.bottom]).sort((a, b) => a[0] - b[0])"
    )
    verdicts = page.locator(".verdicts").bounding_box()
    assert fixed[0][0] <= verdicts["y"] and fixed[-1][1] == 844
    assert all(above >= below for (_, above), (below, _) in pairwise(fixed))
