"""`anomaly label`: a labelling session over a run, in a browser or a terminal; labels in and out as files."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.artifact.run import Run
from anomaly.base import seeded
from anomaly.commands.console import Console
from anomaly.commands.replay import loop_parts
from anomaly.errors import AnomalyError, ConfigError
from anomaly.report.text import amount, identity

try:
    from anomaly.active.labels_file import EVENT, ITEM, import_labels, read_labels, write_labels
    from anomaly.active.labels_log import LabelLog
except ImportError as error:
    raise AnomalyError("labelling needs its packages: pip install 'anomaly[label]'") from error

if TYPE_CHECKING:
    from anomaly.base import Learner, QueryStrategy
    from anomaly.commands.compose import Settings
    from anomaly.labelling.page import Desk

DATABASE = "labels.sqlite"
_UIS = ("web", "terminal")


def command(settings: Settings) -> None:
    """Label, or take labels in or out."""
    values = settings.values
    if values["ui"] not in _UIS:
        raise ConfigError(f"ui={values['ui']}: expected one of {', '.join(_UIS)}")
    run = Run.load(values["run"], allow=settings.allow)
    with Console(quiet=values["quiet"]) as console, _log(run, values) as log:
        exchanged = _exchange(run, log, values, console)
        if exchanged and values["import"] is None:
            return
        console.progress("opening")
        learner, query = loop_parts(settings)
        desk = open_desk(run, log, values, (seeded(learner, values["seed"]), query))
        console.end_progress()
        _tell_strangers(desk, console)
        # What a session that was killed has learnt is kept now, what this one learns when it ends.
        _keep(run, desk)
        if not exchanged:
            try:
                _open(desk, run, values, console)
            finally:
                _keep(run, desk)


def _tell_strangers(desk: Desk, console: Console) -> None:
    """Say which labels are about nothing that the run ranks."""
    session = desk.session
    strangers = list(dict.fromkeys(r.item for r in session.ledger.rows.values() if r.item not in session.places))
    if strangers:
        told = f"{amount(len(strangers), 'labelled item')} not in the run, such as {identity(strangers[0])}"
        console.note(f"warning: {told}")
    if session.nameless:
        told = (
            f"{amount(len(session.nameless), 'item')} whose id is empty or holds the character NUL: never asked about"
        )
        console.note(f"warning: {told}")


def _keep(run: Run, desk: Desk) -> None:
    """Keep what the labels have taught: from now on new events are ranked by what was said and stands."""
    if desk.session.learner.taught:
        run.keep_learner(desk.session.learner.learner)
    else:
        run.forget_learner()


def _log(run: Run, values: dict[str, Any]) -> LabelLog:
    only_reads = values["export"] is not None and values["import"] is None
    if values["database"] is None:
        # The run's own file is about this run, whatever its folder comes to be called.
        return LabelLog(run.path / DATABASE, read_only=only_reads)
    return LabelLog(values["database"], session=run.path.resolve().name, read_only=only_reads)


def _exchange(run: Run, log: LabelLog, values: dict[str, Any], console: Console) -> bool:
    """Take labels in or out, and return whether that was asked for."""
    if values["import"] is not None:
        name = values["annotator"] or Path(values["import"]).stem
        names = EVENT if run.facts["unit"] == "event" else ITEM
        zone = run.encoder.schema_.timezone
        rows = read_labels(values["import"], annotator=name, source=values["source"], names=names, timezone=zone)
        console.say(
            f"{import_labels(log, rows):,} of {amount(len(rows), 'label')} {'was' if len(rows) == 1 else 'were'} new"
        )
    if values["export"] is not None:
        rows = log.read()
        path = write_labels(rows, values["export"], everything=values["everything"])
        what = "the whole log" if values["everything"] else "of each item the verdict that counts"
        console.say(f"written: {path} ({what}; the log has {len(rows)} rows)")
    return values["import"] is not None or values["export"] is not None


def open_desk(
    run: Run, log: LabelLog, values: dict[str, Any], parts: tuple[Learner, QueryStrategy] | tuple[()] = ()
) -> Desk:
    """Return the session over a run, with all that its pages show."""
    from anomaly.active.learner import ActiveLearner
    from anomaly.active.session import LabelSession
    from anomaly.artifact.items import items_of_run
    from anomaly.labelling.casebook import Casebook
    from anomaly.labelling.page import LONGEST_KIND, Desk
    from anomaly.labelling.reasons import Reasons

    for kind in values["typologies"]:
        if len(str(kind)) > LONGEST_KIND:
            raise ConfigError(
                f"typologies: {str(kind)[:20]}... is too long; at most {LONGEST_KIND} characters are said"
            )
    items = items_of_run(run)
    book = Casebook(run, items, Reasons(run, language=values["language"]))
    session = LabelSession(
        ActiveLearner(items, *parts, random_state=values["seed"]),
        log,
        model_version=_version(run),
        double=values["double"],
        lease=values["lease"],
        times=book.end_times(),
    )
    return Desk(session, book, run.path.resolve().name, tuple(values["typologies"]), values["spares"])


def _version(run: Run) -> str:
    return f"{run.manifest['version']} {run.manifest['finished']}"


def _open(desk: Desk, run: Run, values: dict[str, Any], console: Console) -> None:
    if values["ui"] == "terminal":
        from anomaly.labelling.terminal import Terminal

        annotator = values["annotator"] or getpass.getuser()
        Terminal(desk, annotator, lead=annotator in values["leads"]).run()
        return
    from anomaly.labelling.guard import is_loopback
    from anomaly.labelling.identity import Gate
    from anomaly.labelling.server import serve

    guarded = not is_loopback(values["host"])
    gate = Gate.open(run.path, guarded=guarded, leads=tuple(values["leads"]))
    serve(desk, gate, host=values["host"], port=values["port"], say=console.say)
