"""Matplotlib figures as inline SVG that follows the page: its colours, its font, its strict content policy.

Figures are drawn in marker colours; each marker becomes a CSS variable, so one picture serves light and dark. Style
attributes become classes, because the page allows no inline style.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE, ACCENT, ALERT, SOFT = "#000001", "#000002", "#000003", "#000004", "#000005", "#000006"
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", ACCENT: "accent", ALERT: "alert", SOFT: "soft"}
_LIGHT = {INK: "#1c2126", MUTED: "#59636e", RULE: "#dde1e5", ACCENT: "#0b62a4", ALERT: "#b84a00", SOFT: "#cfe0ee"}
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "axes.xmargin": 0.01,
}
WIDTH, HEIGHT = 5.6, 3.3
"""Inches at 72 points: 403 x 238, so that text stays readable when a phone shows the figure at full width."""


class Sheet:
    """Style rules of all figures of a page, each written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._figures = 0
        self.files: list[str] = []
        """The figures as SVG files of their own, in the order in which they were added."""

    @property
    def css(self) -> str:
        """The rules as a style sheet."""
        return "\n".join(f".{name}{{{style}}}" for style, name in self._names.items())

    def add(self, figure: Figure, description: str) -> Markup:
        """Return the figure as inline SVG whose `description` is read out in its place."""
        buffer = io.StringIO()
        with matplotlib.rc_context(SETTINGS):
            figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        self._figures += 1
        self.files.append(_alone(buffer.getvalue()))
        return self._inline(buffer.getvalue(), f"g{self._figures}-", description)

    def _inline(self, svg: str, prefix: str, description: str) -> Markup:
        body = svg[svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
        body = re.sub(r'(?<=[ "])id="([^"]+)"', rf'id="{prefix}\1"', body)
        body = body.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
        body = re.sub(r'style="([^"]*)"', lambda m: f'class="{self._class(m[1])}"', body)
        box = re.search(r'viewBox="([^"]+)"', body)
        head = Markup('<svg role="img" aria-label="{}" viewBox="{}" class="plot">').format(
            description, box[1] if box else ""
        )
        body = re.sub(r"\n\s*", "\n", body[body.index(">") + 1 :])
        # Matplotlib has escaped the text in it.
        return head + Markup(body)

    def _class(self, style: str) -> str:
        style = re.sub(r"#00000[1-6]", lambda m: f"var(--{_VARIABLES[m[0]]})", style)
        style = re.sub(r"font-family: [^;]+;?|(?<=px) '[^;]+(?=;|$)", "", style)
        return self._names.setdefault(style, f"s{len(self._names)}")


def _alone(svg: str) -> str:
    """Return a figure with the colours of the light page in place of the markers."""
    for marker, colour in _LIGHT.items():
        svg = svg.replace(marker, colour)
    return svg


def canvas(height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return an empty figure of the page's width and its axes."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
    return figure, axes
