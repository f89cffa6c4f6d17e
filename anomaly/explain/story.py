"""One case as a plain record: what the terminal, the page, the picture and the labelling page all show.

Shapes: T events, N sequences, F fields.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from anomaly.explain.reasons import Reason
from anomaly.explain.sentences import sentence, title
from anomaly.explain.words import Language

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Likelier:
    """A value that the model held for likelier than the one that was there."""

    field: str
    value: str
    probability: float
    own: float


@dataclass(frozen=True)
class StoryEvent:
    """One event of a case.

    Attributes
    ----------
    position : from 0, as in ``event_scores.parquet``
    values : field to text
    part : of the evidence
    share : of the evidence
    fields : field to part, the largest first; those below a hundredth of the event's are left out
    expected : what was likelier instead, where the model can tell; the field that carries most first
    """

    position: int
    time: str
    values: Mapping[str, str]
    part: float
    share: float
    fields: Mapping[str, float]
    expected: Sequence[Likelier] = ()


@dataclass(frozen=True)
class StatisticPart:
    """What one statistic adds.

    Attributes
    ----------
    exact : whether it is a sum over events and fields, so that its split over them is exact
    low : whether it is odd for being small
    """

    name: str
    part: float
    share: float
    p_value: float
    exact: bool
    low: bool


@dataclass(frozen=True)
class CrossCheck:
    """What Shapley values say of a member that reads features, beside the parts that the explanation is made of.

    Attributes
    ----------
    parts : feature to its share in the member's score, the largest first
    shapley : feature to its Shapley value, in units of the member's score, the largest first
    agreement : share of the features named by either that both name
    """

    member: str
    parts: Mapping[str, float]
    shapley: Mapping[str, float]
    agreement: float


class Told(NamedTuple):
    """A reason as it is told."""

    code: str
    title: str
    severity: str
    share: float
    sentence: str


@dataclass(frozen=True)
class Story:
    """Why one sequence scores as it does, or one event where single events are the items.

    Attributes
    ----------
    event : id of the event that is explained; None where the sequence is
    language : of the texts among the values and of the sentences
    evidence : combined; the score is a monotone function of it. The parts of the statistics and of the fields each sum
        to it; so do those of all events and of all reasons, of which the largest are told
    statistics : those that carry anything, the largest first
    events : the first to look at
    exact : share of the evidence whose split over events and fields is exact
    fields : field to part; "gap", "end" and "whole" are no columns
    reasons : the largest first
    usual : what the entity does otherwise, and does here: rows of field, value, usual and here (shares)
    nearest : usual sequences that are most alike
    edit : what would make it unremarkable
    cross_checks : of the members that read features, where they were asked for
    """

    sequence: Any
    entity: Any
    length: int
    score: float
    p_value: float
    evidence: float
    exact: float
    statistics: Sequence[StatisticPart]
    events: Sequence[StoryEvent]
    fields: Mapping[str, float]
    reasons: Sequence[Reason]
    usual: Sequence[Mapping[str, Any]] = ()
    nearest: Sequence[Mapping[str, Any]] = ()
    edit: Mapping[str, Any] = field(default_factory=dict)
    event: Any = None
    language: Language = "en"
    cross_checks: Sequence[CrossCheck] = ()

    @property
    def item(self) -> Any:
        """Id of what is explained."""
        return self.sequence if self.event is None else self.event

    def told(self) -> list[Told]:
        """Return the reasons in words, the largest first."""
        return [
            Told(r.code, title(r.code, self.language), r.severity, r.share, sentence(r.code, r.facts, self.language))
            for r in self.reasons
        ]

    def sentences(self) -> list[str]:
        """Return what the reasons say, the largest first."""
        return [told.sentence for told in self.told()]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values, each reason with its sentence."""
        found = asdict(self)
        for reason, told in zip(found["reasons"], self.told(), strict=True):
            reason["title"], reason["sentence"] = told.title, told.sentence
        return found
