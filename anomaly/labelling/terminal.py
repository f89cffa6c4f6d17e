"""The session in a terminal: a case, a letter, the next case."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anomaly.active.labels import new_key
from anomaly.labelling.identity import Annotator
from anomaly.labelling.page import LONGEST_KIND
from anomaly.report.text import amount, clean, identity, p_value, share

if TYPE_CHECKING:
    from typing import TextIO

    from anomaly.active.labels import Label
    from anomaly.active.leases import Lease
    from anomaly.labelling.casebook import Case
    from anomaly.labelling.page import Desk

VERDICTS = {"a": "anomalous", "n": "normal", "u": "unsure", "s": "skipped", "e": "escalated"}
HELP = """\
a anomalous   n normal   u unsure   s skip   e escalate   z undo
x show the score   o ID open a case   f TEXT find   h help   q leave
w what the labels have decided
After a letter may follow a kind, and after // a comment:   a click_fraud // five orders in a minute"""
LEAD = "d what you are to settle"
_ROWS = 30


class Terminal:
    """A labelling session of one person, line by line.

    Parameters
    ----------
    annotator : whose words these are
    lead : whether they settle disputes
    source, sink : where lines come from and go to; stdin and stdout unless stated
    """

    def __init__(
        self,
        desk: Desk,
        annotator: str,
        *,
        lead: bool = False,
        source: TextIO | None = None,
        sink: TextIO | None = None,
    ) -> None:
        self.desk = desk
        self.session = desk.session
        self.annotator = annotator
        self.lead = lead
        self.help = f"{HELP}\n{LEAD}" if lead else HELP
        self.source = source or sys.stdin
        width = None if sink is None and sys.stdout.isatty() else 120
        # Text of the data is shown as text: no markup, no control characters.
        self.console = Console(file=sink or sys.stdout, width=width, markup=False, highlight=False, emoji=False)

    def run(self) -> None:
        """Go from case to case until somebody leaves or nothing is left."""
        self.console.print(self.help + "\n")
        lease = self._next()
        while lease is not None:
            begun = time.monotonic()
            self.console.print(f"{self.annotator} [{identity(lease.item)}] > ", end="")
            line = self.source.readline()
            if not line or line.strip() in ("q", "quit"):
                break
            lease = self._obey(line.strip(), lease, begun)
        self.session.leave(self.annotator)

    def _obey(self, line: str, lease: Lease, begun: float) -> Lease | None:
        """Do what a line says and return the case that is open then."""
        letter, _, rest = line.partition(" ")
        if letter in VERDICTS:
            kind, _, note = (part.strip() for part in rest.partition("//"))
            if len(kind) > LONGEST_KIND:
                self.console.print(f"the kind is too long: at most {LONGEST_KIND} characters; a comment follows //")
                return lease
            self.session.say(
                self.annotator,
                lease.item,
                VERDICTS[letter],
                key=new_key(),
                typology=kind or None,
                note=note or None,
                duration_ms=int((time.monotonic() - begun) * 1000),
                lead=self.lead,
            )
            return self._next()
        if letter == "z":
            taken_back = self.session.undo(self.annotator, key=new_key())
            self.console.print("taken back" if taken_back else "nothing to undo")
            return self._next()
        if letter == "o" and rest.strip():
            return self._open(rest.strip(), lease)
        if letter == "x":
            self._score(lease)
        elif letter == "f" and rest.strip():
            for _, item, owner in self.desk.book.search(rest):
                self.console.print(f"  {identity(item)}  {identity(owner)}")
        elif letter == "w":
            learnt = self.session.progress().learnt
            self.console.print("\n".join(clean(text, 400) for text in learnt) or "one curve over all of them")
        elif letter == "d" and self.lead:
            self._disputes()
        else:
            self.console.print(self.help)
        return lease

    def _disputes(self) -> None:
        disputes = self.session.disputes()
        for item, words in disputes:
            self.console.print(f"  {identity(item)}  {', '.join(map(_said, words))}")
        if not disputes:
            self.console.print("nothing waits: where two judged a case, they agree")

    def _next(self) -> Lease | None:
        lease = self.session.next(self.annotator)
        if lease is None:
            self.console.print("nothing is left for you")
        else:
            self._show(lease)
        return lease

    def _open(self, item: str, lease: Lease) -> Lease:
        if item not in self.session.places:
            self.console.print(f"{identity(item)}: no such item")
            return lease
        found = self.session.open(self.annotator, item, lead=self.lead)
        if found is None:
            self.console.print(f"{identity(item)}: somebody else has this case open")
            return lease
        self._show(found)
        return found

    def _score(self, lease: Lease) -> None:
        self.session.ask(self.annotator, lease.item)
        row = self.desk.book.scores.row(self.session.places[lease.item], named=True)
        self.console.print(f"score {row['score']:.2f}   p-value {p_value(row['p_value'])}   rank {row['rank']:,}")

    def _show(self, lease: Lease) -> None:
        places = self.session.places
        judged = [(places[row.item], row) for row in self.session.judged()]
        case = self.desk.book.case(places[lease.item], judged)
        progress = self.session.progress()
        recent = share(progress.estimate.precision)
        self.console.rule(f"{amount(progress.labels, 'label')} · {progress.found} found · {recent} of the last 20")
        if progress.estimate.stop:
            self.console.print(f"it is time to stop: {progress.estimate.stop}")
        owner = f"{identity(case.entity)} · " if case.entity else ""
        place = f"{identity(case.place)} · " if case.place else ""
        self.console.print(
            Text(identity(case.item), "bold"),
            f"{owner}{place}{amount(case.n_events, 'event')} {case.first} {case.zone}",
        )
        for word in self.desk.opinions(Annotator(self.annotator, self.lead), lease.item):
            self.console.print(f"  {_said(word)}" + (f" // {clean(word.note, 300)}" if word.note else ""))
        told = self.desk.book.tell(places[lease.item])
        for text in [f"{reason.title}: {reason.sentence}" for reason in told] or case.surprises:
            self.console.print(f"  - {clean(text, 300)}")
        self._events(case)
        for figure in case.figures[:5]:
            side = "higher" if figure.percentile >= 0.5 else "lower"
            among = share(max(figure.percentile, 1 - figure.percentile))
            self.console.print(f"  {clean(figure.name)}: {figure.text} ({side} than {among})")
        for link in case.links[:3]:
            self.console.print(f"  {clean(link.field, 20)} {clean(link.value)}: {amount(link.others, 'other')}")

    def _events(self, case: Case) -> None:
        table = Table(show_edge=False, box=None, pad_edge=False)
        table.add_column("#", justify="right")
        table.add_column("time")
        for name, _, _ in case.events[0].values if case.events else []:
            table.add_column(clean(name, 20))
        table.add_column("surprise")
        for event in case.events[:_ROWS]:
            bar = "█" * round(8 * event.share) + (f" {clean(event.field, 20)}" if event.mark else "")
            values = [clean(text, 24) + ("*" if changed else "") for _, text, changed in event.values]
            table.add_row(str(event.number), event.clock, *values, bar)
        self.console.print(table)


def _said(word: Label) -> str:
    return f"{clean(word.annotator, 40)}: {word.verdict}"
