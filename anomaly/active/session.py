"""A labelling session of several analysts: which case is whose, what was said, and how far it has come.

Everything that counts is in the database; the session is a fold of it, so a restarted one goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from threading import RLock
from typing import TYPE_CHECKING, Any

from anomaly.active import estimates
from anomaly.active.estimates import Estimate, Reach
from anomaly.active.labels import VERDICTS, Label, is_text
from anomaly.active.labels_log import now
from anomaly.active.learner import ActiveLearner, Taught
from anomaly.active.leases import Lease, Leases
from anomaly.active.ledger import BLIND, LEAD, Ledger, kappa
from anomaly.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly.active.labels_log import LabelLog

SEARCH = "search"
"""Policy of a case that was looked for."""
SPARE = "spare"
"""Policy of a case that was judged while it was kept back; no draw, since what was wanted again has another."""

_HOW = ("policy", "probability", "taken_at", "chosen_at")


@dataclass(frozen=True)
class Progress:
    """How far a session has come.

    Attributes
    ----------
    labels, found : items with a verdict that counts, and those of them that are anomalous
    estimate : what follows for all items: precision of the last 20, prevalence, recall, whether to stop
    waiting : items that wait for a lead
    doubled, agreement : items that two people judged, and Cohen's kappa of these
    learnt : what the labels have decided within the learner, a line each
    """

    labels: int
    found: int
    estimate: Estimate
    waiting: int
    doubled: int
    agreement: float | None
    learnt: list[str]


class LabelSession:
    """Hand out cases, take verdicts, rank anew after each.

    Parameters
    ----------
    learner : over the items of the session
    log : where every verdict goes
    model_version : of the run that ranked the items, written with every verdict
    double : share of the cases that a second analyst judges without knowing of the first
    lease : seconds for which a case is held without a sign of life
    times : (n,) microseconds at which each item ended, where there are times

    Attributes
    ----------
    nameless : ids that no label can hold, empty or with the character NUL; nobody is asked about these
    """

    def __init__(
        self,
        learner: ActiveLearner,
        log: LabelLog,
        *,
        model_version: str | None = None,
        double: float = 0.1,
        lease: float = 600.0,
        times: Sequence[int | None] | None = None,
    ) -> None:
        if not 0 <= double <= 1:
            raise DataError(f"double={double}: expected a share from 0 to 1")
        if lease <= 0:
            raise DataError(f"lease={lease}: expected seconds, more than 0")
        self.learner, self.log = learner, log
        self.model_version = model_version
        self.double = double
        self.times = times
        self.leases = Leases(log, seconds=lease)
        self.places = {str(item): place for place, item in enumerate(learner.items.ids.to_list())}
        self.nameless = {item for item in self.places if not item or not is_text(item)}
        self.ledger = Ledger(self.places)
        self._lock = RLock()
        with self._lock:
            self._read()

    def next(self, annotator: str) -> Lease | None:
        """Return the case that somebody holds, or hand out the next one; None where nothing is left.

        Second opinions come first, so that disagreements show while they can still be asked about.
        """
        with self._lock:
            self._read()
            held = self._held()
            own = [lease for lease in held if lease.annotator == annotator and not lease.spare]
            return own[-1] if own else self._hand_out(annotator, held)

    def spares(self, annotator: str, n: int) -> list[Lease]:
        """Hold `n` further cases, to be judged while the network is cut."""
        with self._lock:
            self._read()
            found = [lease for lease in self._held() if lease.annotator == annotator and lease.spare]
            while len(found) < n:
                lease = self._hand_out(annotator, self.leases.held(), spare=True)
                if lease is None:
                    break
                found.append(lease)
            return found

    def open(self, annotator: str, item: str, *, lead: bool = False) -> Lease | None:
        """Hold a case that was looked for, and put back the one on screen; None where somebody else holds it.

        Parameters
        ----------
        lead : whether the annotator may settle a dispute

        Raises
        ------
        DataError
            If there is no such item.
        """
        if item not in self.places:
            raise DataError(f"{item!r}: no such item in this session")
        with self._lock:
            self._read()
            policy = LEAD if lead and self._disputed(annotator, item) else SEARCH
            mine = self.leases.of(annotator, item)
            how = (mine.policy, mine.probability, mine.chosen_at) if mine and not mine.spare else (policy, None, None)
            lease = self.leases.take(item, annotator, *how[:2], chosen_at=how[2])
            if lease is not None:
                self._put_back(annotator, item)
            return lease

    def say(
        self,
        annotator: str,
        item: str,
        verdict: str,
        *,
        key: str,
        typology: str | None = None,
        confidence: float | None = None,
        note: str | None = None,
        duration_ms: int | None = None,
        lead: bool = False,
    ) -> Label:
        """Write what somebody says of a case, correcting what they said before; a key counts once.

        Parameters
        ----------
        verdict : anomalous, normal, unsure, skipped or escalated
        typology : kind of anomaly; what is normal has none
        lead : whether the annotator may settle a dispute

        Raises
        ------
        DataError
            If there is no such item or verdict.
        """
        if item not in self.places:
            raise DataError(f"{item!r}: no such item in this session")
        if verdict in ("asked", "withdrawn"):
            raise DataError(f"verdict={verdict}: expected {', '.join(VERDICTS)}, skipped or escalated")
        with self._lock:
            self._read()
            if key in self.ledger.keys:
                return self.log.append(Label(item, verdict, annotator, key=key))
            lease = self.leases.of(annotator, item)
            before = self.ledger.word(item, annotator)
            label = Label(
                item,
                verdict,
                annotator,
                key=key,
                typology=typology,
                confidence=confidence,
                note=note,
                duration_ms=duration_ms,
                supersedes=before.seq if before else None,
                score_seen=(item, annotator) in self.ledger.asked,
                **self._circumstances(annotator, item, lease, before, lead),
            )
            # What was sent is judged whole, also the kind that a normal case does not keep.
            return self._write(replace(label, typology=None) if verdict == "normal" else label, lease)

    def undo(self, annotator: str, *, key: str) -> str | None:
        """Take back what somebody said last, hand them that case again, and return it; None where nothing is left."""
        with self._lock:
            self._read()
            sent = self.ledger.keys.get(key)
            last = self.ledger.rows.get(sent.supersedes or 0) if sent else self.ledger.last(annotator)
            if last is None or last.annotator != annotator:
                return None
            if sent is None:
                sent = self._write(Label(last.item, "withdrawn", annotator, key=key, supersedes=last.seq), None)
            # Sent again, too: the server may have ended before the case was theirs.
            if self.ledger.drafts[last.item, annotator].seq < sent.seq:
                self._hand_back(annotator, last)
            return last.item

    def ask(self, annotator: str, item: str) -> None:
        """Keep that somebody wanted to see the score of a case."""
        with self._lock:
            self._read()
            if (item, annotator) not in self.ledger.asked:
                self._write(Label(item, "asked", annotator), None)

    def has_asked(self, annotator: str, item: str) -> bool:
        """Return whether somebody has asked for the score of a case."""
        with self._lock:
            return (item, annotator) in self.ledger.asked

    def leave(self, annotator: str) -> None:
        """Give back every case that somebody holds."""
        with self._lock:
            self.leases.release(annotator)

    def progress(self) -> Progress:
        """Return how far the session has come."""
        with self._lock:
            self._read()
            taught, pairs = self.learner.taught, self.ledger.pairs()
            verdicts = [each.verdict for each in taught]
            estimate = estimates.progress(
                len(self.places),
                verdicts,
                [each.probability for each in taught],
                [each.policy for each in taught],
                reach=Reach.of(verdicts, *self.ledger.choices()),
            )
            return Progress(
                estimate.n_labels,
                estimate.n_found,
                estimate,
                len(self.ledger.disputes()),
                len(pairs),
                kappa(pairs),
                self.learner.learner.told(),
            )

    def disputes(self) -> list[tuple[str, list[Label]]]:
        """Return the items that wait for a lead, with what was said of each."""
        with self._lock:
            self._read()
            return [(item, list(self.ledger.words[item].values())) for item in self.ledger.disputes()]

    def words(self, item: str) -> dict[str, Label]:
        """Return what was said last of an item, by annotator."""
        with self._lock:
            return dict(self.ledger.words.get(item, {}))

    def draft(self, annotator: str, item: str) -> Label | None:
        """Return what somebody said last of an item, taken back or not: where they go on when it is theirs again."""
        with self._lock:
            return self.ledger.drafts.get((item, annotator))

    def opinions(self, annotator: str, item: str) -> list[Label]:
        """Return what others said of an item that waits for a lead."""
        with self._lock:
            own = self.words(item) if item in self.ledger.disputes() else {}
            return [row for name, row in own.items() if name != annotator]

    def posterior(self, item: str) -> float:
        """Return what the learner holds of an item, higher is more anomalous; no probability, see `Learner.rank`."""
        with self._lock:
            return float(self.learner.posterior_[self.places[item]])

    def judged(self) -> list[Label]:
        """Return the verdicts that count, one of each item, in the order in which they were written."""
        with self._lock:
            return self.ledger.decisions()

    def _read(self) -> None:
        """Take in what was written since, here or by another server on the same database."""
        rows = self.log.read(self.ledger.seq)
        if not rows:
            return
        self.ledger.add(rows)
        self.learner.replay([self._taught(row) for row in self.ledger.decisions()])

    def _taught(self, row: Label) -> Taught:
        """Return a verdict as it counts; however it was settled, the item was chosen as it was first."""
        chosen = self.ledger.chosen[row.item]
        # What was chosen among the items of another run is no draw from these.
        drawn = chosen.model_version == self.model_version and chosen.probability
        chance, policy = (drawn, chosen.policy or "") if drawn else (float("nan"), "")
        confidence = 1.0 if row.confidence is None else max(row.confidence, 0.01)
        return Taught(self.places[row.item], VERDICTS[row.verdict], confidence, policy, chance)

    def _write(self, label: Label, lease: Lease | None) -> Label:
        written = self.log.append(label)
        if lease is not None:
            self.leases.release(label.annotator, label.item)
        self._read()
        return written

    def _circumstances(
        self, annotator: str, item: str, lease: Lease | None, before: Label | None, lead: bool
    ) -> dict[str, Any]:
        """Return how a word came about; a correction was chosen as what it corrects was."""
        time = self.times[self.places[item]] if self.times is not None else None
        chosen = before or lease
        how: dict[str, Any] = {name: getattr(chosen, name) for name in _HOW} if chosen else {"policy": SEARCH}
        if lead and self._disputed(annotator, item):
            how["policy"] = LEAD
        elif how["policy"] == LEAD and not lead:
            how["policy"] = SEARCH
        return {**how, "event_time": time, "known_at": now(), "model_version": self.model_version}

    def _disputed(self, annotator: str, item: str) -> bool:
        """Whether an item waits for a lead because of what others said."""
        return bool(self.opinions(annotator, item))

    def _held(self) -> list[Lease]:
        """Return what is held, less what was judged since it was taken: a server may end between the two."""
        held = []
        for lease in self.leases.held():
            word = self.ledger.word(lease.item, lease.annotator)
            if word is not None and word.recorded_at >= lease.taken_at:
                self.leases.release(lease.annotator, lease.item)
            else:
                held.append(lease)
        return held

    def _hand_back(self, annotator: str, word: Label) -> None:
        if self.leases.take(word.item, annotator, word.policy or "", word.probability, chosen_at=word.chosen_at):
            self._put_back(annotator, word.item)

    def _put_back(self, annotator: str, kept: str) -> None:
        for lease in self.leases.held():
            if lease.annotator == annotator and lease.item != kept and not lease.spare:
                self.leases.release(annotator, lease.item)

    def _hand_out(self, annotator: str, held: list[Lease], *, spare: bool = False) -> Lease | None:
        taken = {lease.item for lease in held if spare or lease.annotator != annotator}
        for item in self._doubles(annotator, taken):
            lease = self.leases.take(item, annotator, BLIND, spare=spare)
            if lease is not None:
                return lease
        # What somebody has put off comes back when nothing else is left.
        for closed in (self._closed(annotator), self._closed(None)):
            lease = self._chosen(annotator, taken | closed | self.nameless, spare)
            if lease is not None:
                return lease
        return None

    def _chosen(self, annotator: str, closed: set[str], spare: bool) -> Lease | None:
        """Hold the item that the strategy wants most."""
        while True:
            exclude = [self.learner.items.ids[self.places[item]] for item in closed]
            choice = self.learner.choose(1, exclude)
            if not len(choice):
                return None
            item = str(self.learner.items.ids[int(choice.items[0])])
            chance = float(choice.probabilities[0])
            how = (choice.policies[0], chance if 0 < chance <= 1 else None)
            lease = self.leases.take(item, annotator, *((SPARE, None) if spare else how), spare=spare)
            if lease is not None:
                return lease
            closed = closed | {item}

    def _closed(self, annotator: str | None) -> set[str]:
        """Return the items that are not to be asked about: judged, handed up, or put off by this annotator."""
        found = set()
        for item, words in self.ledger.words.items():
            others = (row.verdict for row in words.values())
            if any(verdict != "skipped" for verdict in others) or (annotator is not None and annotator in words):
                found.add(item)
        return found

    def _doubles(self, annotator: str, taken: set[str]) -> list[str]:
        """Return the items that wait for a second opinion, which this annotator can give."""
        if not self.double:
            return []
        found = []
        for item, words in self.ledger.words.items():
            if annotator in words or item in taken:
                continue
            if len(words) == 1 and len(self.ledger.verdicts(item)) == 1 and self._doubled(item):
                found.append(item)
        return found

    def _doubled(self, item: str) -> bool:
        """Whether an item is of the share that two people judge: the same at every start."""
        seed = f"{self.learner.random_state}:{self.log.session}:{item}"
        return int.from_bytes(sha256(seed.encode()).digest()[:8]) < self.double * 2**64
