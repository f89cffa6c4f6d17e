"""Numbers as people write them in CSV: with a decimal comma, separators of thousands, a currency or a percent sign."""

from __future__ import annotations

from typing import Literal

import polars as pl

Mark = Literal[",", "."]
"""What parts whole from broken."""

_NUMBER = r"^\s*[+-]?\s*\p{Sc}?\s*[+-]?\d{1,3}(?:[.,\s']?\d{3})*(?:[.,]\d+)?\s*(?:\p{Sc}|%|[A-Z]{3})?\s*$"
_SHOWS: dict[Mark, str] = {
    ",": r"\..*,|\..*\.|,\d{1,2}(?:\D|$)|,\d{4}|^\D*0,",
    ".": r",.*\.|,.*,|\.\d{1,2}(?:\D|$)|\.\d{4}|^\D*0\.",
}
"""What only numbers with that mark hold: the other one before it or twice, or after it no group of three digits."""


def decimal_mark(texts: pl.Series) -> Mark | None:
    """Return the decimal mark of a column of text; None where it holds other text or plain numbers, or shows none."""
    texts = texts.drop_nulls()
    if not len(texts) or texts.cast(pl.Float64, strict=False).null_count() == 0:
        return None
    if not texts.str.contains(_NUMBER).all():
        return None
    units = texts.str.replace_all(r"[\d\s.,'+-]", "")
    units = units.filter(units != "").unique()
    if len(units) > 1:
        return None
    shown: list[Mark] = [mark for mark, pattern in _SHOWS.items() if texts.str.contains(pattern).any()]
    if not shown and len(units) and not texts.str.contains("[.,]").any():
        return "."
    return shown[0] if len(shown) == 1 else None


def plain(text: pl.Expr, mark: Mark) -> pl.Expr:
    """Return numbers as 1234.5, and other text as it is, so that an error can quote it."""
    digits = text.str.replace_all(r"[^\d.,-]", "")
    digits = digits.str.replace_all("." if mark == "," else ",", "", literal=True).str.replace(",", ".", literal=True)
    return pl.when(text.str.contains(_NUMBER)).then(digits).otherwise(text)
