"""The fold of the label log: whose word stands on which item, what is disputed, and what each has said last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Self

from anomaly.active.labels import VERDICTS, Label

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

LEAD, BLIND = "lead", "blind"
"""Policies of a verdict that settles a dispute, and of a second opinion that does not know of the first."""


@dataclass
class Ledger:
    """What the rows of a log amount to, kept up to date row by row.

    Attributes
    ----------
    items : what the rows may be about, as a log can hold labels of other items too; None where it is whatever they name
    seq : place of the last row
    rows : every row by place
    keys : every row by key
    words : by item, who said what last, in the order in which it was said; moves such as a skip included
    said : by annotator, the rows that stand, the last of which is undone first
    drafts : by item and annotator, what was said last, also where it was taken back
    asked : items whose score somebody asked for, with who did
    chosen : by item, the first row that was chosen with a chance, else the first: how the item left the queue
    """

    items: Container[str] | None = None
    seq: int = 0
    rows: dict[int, Label] = field(default_factory=dict)
    keys: dict[str, Label] = field(default_factory=dict)
    words: dict[str, dict[str, Label]] = field(default_factory=lambda: defaultdict(dict))
    said: dict[str, list[Label]] = field(default_factory=lambda: defaultdict(list))
    drafts: dict[tuple[str, str], Label] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)
    chosen: dict[str, Label] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Label]) -> Self:
        """Return what the rows of a log amount to."""
        ledger = cls()
        ledger.add(rows)
        return ledger

    def add(self, rows: Iterable[Label]) -> None:
        """Take further rows of the log."""
        for row in map(self._since_first, rows):
            self.rows[row.seq] = self.keys[row.key] = row
            self.seq = row.seq
            if self.items is not None and row.item not in self.items:
                continue
            if row.verdict == "asked":
                self.asked.add((row.item, row.annotator))
            elif row.verdict == "withdrawn":
                self._take_back(self.rows[row.supersedes or 0])
            else:
                # What it corrects stays below it, to come back when it is undone.
                self.said[row.annotator].append(row)
                self.words[row.item][row.annotator] = self.drafts[row.item, row.annotator] = row
                if row.verdict != "skipped":
                    self.chosen[row.item] = min(self.chosen.get(row.item, row), row, key=_choice)

    def _since_first(self, row: Label) -> Label:
        """Return a row with the time from which its choice was held: handed back after an undo, it is taken anew."""
        draft = self.drafts.get((row.item, row.annotator))
        if draft is None or row.chosen_at is None or draft.chosen_at != row.chosen_at:
            return row
        return replace(row, taken_at=draft.taken_at)

    def _take_back(self, row: Label) -> None:
        own, words = self.said[row.annotator], self.words[row.item]
        if row in own:
            own.remove(row)
        before = [other for other in own if other.item == row.item]
        if before:
            words[row.annotator] = before[-1]
        else:
            words.pop(row.annotator, None)
        left = [r for name in words for r in self.said[name] if r.item == row.item and r.verdict != "skipped"]
        if left:
            self.chosen[row.item] = min(left, key=_choice)
        else:
            self.chosen.pop(row.item, None)

    def word(self, item: str, annotator: str) -> Label | None:
        """Return what somebody said last of an item, where it stands."""
        return self.words[item].get(annotator) if item in self.words else None

    def last(self, annotator: str) -> Label | None:
        """Return what undoing would take back."""
        own = self.said.get(annotator)
        return own[-1] if own else None

    def verdicts(self, item: str) -> list[Label]:
        """Return the verdicts that stand on an item."""
        return [row for row in self.words.get(item, {}).values() if row.verdict in VERDICTS]

    def decision(self, item: str) -> Label | None:
        """Return the verdict that counts: the lead's, or the first where all agree; None while it is disputed."""
        found = self.verdicts(item)
        settled = [row for row in found if row.policy == LEAD]
        if settled:
            return settled[-1]
        firm = [row for row in found if row.verdict != "unsure"]
        if len({row.verdict for row in firm}) > 1 or self._escalated(item):
            return None
        # The first opinion, also where it was corrected after the second.
        ordered = sorted(firm or found, key=lambda row: row.policy == BLIND)
        return ordered[0] if ordered else None

    def _escalated(self, item: str) -> bool:
        return any(row.verdict == "escalated" for row in self.words.get(item, {}).values())

    def decisions(self) -> list[Label]:
        """Return the verdicts that count, one of each item, in the order in which they were asked for."""
        found = [self.decision(item) for item in self.words]
        return sorted((row for row in found if row is not None), key=lambda row: self.chosen[row.item].seq)

    def choices(self) -> tuple[list[str], list[int], list[int]]:
        """Return for whom the items of `decisions` were chosen, since when they were held, and when they were chosen.

        Microseconds since 1970 UTC; what was no draw, such as a spare, could be drawn until it was written, however
        long ago a file that was brought in says that this was.
        """
        rows = [self.chosen[row.item] for row in self.decisions()]
        written = accumulate((row.recorded_at for row in rows), max)
        drawn = [(row.probability and row.chosen_at) or moment for row, moment in zip(rows, written, strict=True)]
        held = [min(row.taken_at or moment, moment) for row, moment in zip(rows, drawn, strict=True)]
        return [row.annotator for row in rows], held, drawn

    def disputes(self) -> list[str]:
        """Return the items that wait for a lead: opinions differ, or somebody handed them up."""
        return [item for item, words in self.words.items() if words and self._waits(item)]

    def _waits(self, item: str) -> bool:
        if self.decision(item) is not None:
            return False
        return self._escalated(item) or bool(self.verdicts(item))

    def pairs(self) -> list[tuple[str, str]]:
        """Return the independent verdicts, the earlier first, of items that two people judged without the lead."""
        found = []
        for item in self.words:
            own = sorted((r for r in self.verdicts(item) if r.policy != LEAD), key=lambda r: r.seq)
            if len(own) > 1:
                found.append((own[0].verdict, own[1].verdict))
        return found


def _choice(row: Label) -> tuple[bool, int]:
    """Return what puts first the word by which an item was chosen, also where it was taken back and said again."""
    return row.probability is None, row.seq


def kappa(pairs: list[tuple[str, str]]) -> float | None:
    """Return the agreement beyond chance of pairs of verdicts (Cohen 1960); None where chance alone agrees."""
    n = len(pairs)
    if not n:
        return None
    agreed = sum(a == b for a, b in pairs) / n
    share = {v: (sum(a == v for a, _ in pairs) / n, sum(b == v for _, b in pairs) / n) for v in VERDICTS}
    chance = sum(a * b for a, b in share.values())
    return None if chance >= 1 else (agreed - chance) / (1 - chance)
