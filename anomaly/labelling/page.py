"""HTML of the session, from templates that escape whatever they are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from anomaly.report.environment import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from anomaly.active.labels import Label
    from anomaly.active.leases import Lease
    from anomaly.active.session import LabelSession
    from anomaly.labelling.casebook import Casebook
    from anomaly.labelling.identity import Annotator, Gate


LONGEST_KIND = 100
"""Characters of a kind of anomaly that can be said on the page; what is imported may have more."""
FEW_DRAWN = 10
"""Cases drawn at random below which the share of anomalous ones is told as an interval alone: each moves it by far."""


@dataclass(frozen=True)
class Desk:
    """One session over one run: what every page is made from.

    Attributes
    ----------
    title : the run's name
    typologies : kinds of anomaly that are offered, before those that were used
    spares : cases that a page holds beside the one on screen, for a cut network
    """

    session: LabelSession
    book: Casebook
    title: str
    typologies: tuple[str, ...] = ()
    spares: int = 2

    @property
    def language(self) -> str:
        """Language of the reasons."""
        return self.book.reasons.language if self.book.reasons else "en"

    def case(self, annotator: Annotator, lease: Lease | None) -> str:
        """Return the case that somebody holds, as a fragment; the end where there is none."""
        session = self.session
        common = {"progress": session.progress(), "annotator": annotator, "n_items": len(self.book.items)}
        common["few_drawn"] = FEW_DRAWN
        if lease is None:
            return _render("done.html", **common)
        place = session.places[lease.item]
        judged = [(session.places[row.item], row) for row in session.judged()]
        said = session.words(lease.item).get(annotator.name)
        case = self.book.case(place, judged)
        return _render(
            "case.html",
            case=case,
            reasons=case.reasons,
            language=self.language,
            surprises=case.surprises,
            said=said,
            draft=session.draft(annotator.name, lease.item),
            score=Markup(self.score(annotator, lease.item)) if session.has_asked(annotator.name, lease.item) else None,
            opinions=self.opinions(annotator, lease.item),
            typologies=self.kinds(judged),
            longest_kind=LONGEST_KIND,
            **common,
        )

    def kinds(self, judged: Sequence[Any]) -> list[str]:
        """Return the kinds of anomaly to choose from: those that are offered, then those that were used."""
        used = [row.typology for _, row in judged if row.typology and len(row.typology) <= LONGEST_KIND]
        return list(dict.fromkeys([*self.typologies, *used]))[:9]

    def score(self, annotator: Annotator, item: str) -> str:
        """Return the score of an item and what carries it; what labels made of it is not told to a second opinion."""
        words, place = self.session.words(item), self.session.places[item]
        row, reasons = self.book.scores.row(place, named=True), self.book.tell(place)
        told = annotator.lead or annotator.name in words or not words
        posterior = self.session.posterior(item) if told else None
        shown = {"row": row, "posterior": posterior, "reasons": reasons, "language": self.language}
        return _render("score.html", n_items=len(self.book.items), **shown)

    def reasons(self, item: str) -> str:
        """Return why an item ranks where it does, as a fragment; "" where nothing is told."""
        told = self.book.tell(self.session.places[item])
        return _render("reasons.html", reasons=told, language=self.language, surprises=[]) if told else ""

    def found(self, words: str) -> str:
        """Return what a search found, as a fragment."""
        return _render("found.html", rows=self.book.search(words), words=words)

    def disputes(self) -> str:
        """Return the cases that wait for a lead, as a fragment."""
        return _render("disputes.html", rows=self.session.disputes())

    def shell(self, annotator: Annotator, gate: Gate, inside: str) -> str:
        """Return the whole page around a fragment."""
        # The fragment comes from a template, which has escaped what it was given.
        return _render(
            "session.html",
            title=self.title,
            annotator=annotator,
            form_token=gate.form_token(annotator),
            session=gate.session,
            lease=self.session.leases.seconds,
            inside=Markup(inside),
        )

    def opinions(self, annotator: Annotator, item: str) -> list[Label]:
        """Return what others said, which only a lead may know while a case is open."""
        return self.session.opinions(annotator.name, item) if annotator.lead else []


def enter(title: str, *, guarded: bool, token: str = "", name: str = "", wrong: str = "") -> str:
    """Return the page that asks for a name, and a token where one is needed."""
    return _render("enter.html", title=title, guarded=guarded, token=token, name=name, wrong=wrong)


@cache
def _templates() -> Environment:
    return environment("labelling", exact=_exact)


def _exact(value: Any) -> Markup:
    """Return a value that a script reads back to the letter: browsers make a line feed of a carriage return."""
    return Markup(str(escape(value)).replace("\r", "&#13;"))


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(values)
