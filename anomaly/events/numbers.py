"""Numbers as people write them in CSV: with a decimal comma, separators of thousands, a currency or a percent sign."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

Mark = Literal[",", "."]
"""What parts whole from broken."""

_WHOLE = r"(?:0|[1-9]\d{0,2}(?:[.,\s']?\d{3})*)"
_NUMBER = rf"^\s*[+-]?\s*\p{{Sc}}?\s*[+-]?{_WHOLE}(?:[.,]\d+)?(?:\s*[\p{{Sc}}%]|\s+[A-Z]{{3}})?\s*$"
_SHOWS: dict[Mark, str] = {
    ",": r"\..*,|,\d{1,2}(?:\D|$)|,\d{4}|^\D*0,",
    ".": r",.*\.|,.*,|\.\d{1,2}(?:\D|$)|\.\d{4}|^\D*0\.",
}
"""What only numbers with that mark hold: the other one before it, commas twice (dots twice are of versions too),
or after it no group of three digits."""
_NO_UNIT = r"[\d\s.,'+-]"


class Writing(NamedTuple):
    """How the numbers of a column are written."""

    mark: Mark
    unit: str


def writing_of(texts: pl.Series) -> Writing | None:
    """Return how a column of text writes its numbers; None where none shows, or it holds plain ones or other text."""
    texts = texts.drop_nulls()
    if not len(texts) or texts.cast(pl.Float64, strict=False).null_count() == 0:
        return None
    if not texts.str.contains(_NUMBER).all():
        return None
    units = texts.str.replace_all(_NO_UNIT, "")
    units = units.filter(units != "").unique()
    if len(units) > 1:
        return None
    unit = str(units[0]) if len(units) else ""
    shown: list[Mark] = [mark for mark, pattern in _SHOWS.items() if texts.str.contains(pattern).any()]
    if not shown and unit and not texts.str.contains("[.,]").any():
        return Writing(".", unit)
    return Writing(shown[0], unit) if len(shown) == 1 else None


def plain(text: pl.Expr, writing: Writing) -> pl.Expr:
    """Return numbers as 1234.5, and what is written in another way as it is, so that an error can quote it."""
    other: Mark = "." if writing.mark == "," else ","
    digits = text.str.replace_all(r"[^\d.,-]", "")
    digits = digits.str.replace_all(other, "", literal=True).str.replace(",", ".", literal=True)
    alike = text.str.contains(_NUMBER) & ~text.str.contains(_SHOWS[other])
    alike &= text.str.replace_all(_NO_UNIT, "").is_in(["", writing.unit])
    return pl.when(alike).then(digits).otherwise(text)
