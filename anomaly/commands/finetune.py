"""`anomaly finetune`: a run and labels to a new run, and the same from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomaly.artifact.finetuning import LabelSource, finetune_run, finish_finetuned
from anomaly.artifact.labelled import LabelledRanking
from anomaly.artifact.run import Run
from anomaly.commands.compose import compose
from anomaly.commands.console import Console
from anomaly.commands.files import read_table
from anomaly.commands.report import report_run
from anomaly.errors import ConfigError
from anomaly.explain.words import amount

if TYPE_CHECKING:
    from pathlib import Path

    from anomaly.commands.compose import Settings
    from anomaly.detectors.finetuned import FineTunedDetector

_TOP = 5


def command(settings: Settings) -> None:
    """Fine-tune a run."""
    values = settings.values
    _finetune(settings, values["labels"], values["events"]["path"], values["history"]["path"])


def finetune(
    run: Run | Path | str, labels: Any, *, out: Path | str, events: Any = None, history: Any = None, **options: Any
) -> Run:
    """Learn from labels and return the new run.

    Parameters
    ----------
    run : to start from
    labels : a path or a frame; 1 anomalous, 0 normal, -1 or absent unknown
    out : folder of the new run
    events, history : a path or a frame whose items are labelled and ranked, in place of the run's, and their past
    options : the keys of ``anomaly finetune --help``
    """
    path, allow = (run.path, run.allow) if isinstance(run, Run) else (run, ())
    values: dict[str, Any] = {"run": str(path), "out": str(out), "labels": _name(labels), "quiet": True}
    values |= {"events.path": _name(events), "history.path": _name(history)} | options
    arguments = [f"allow=[{','.join(allow)}]"] if allow else []
    return _finetune(compose("finetune", arguments, values), labels, events, history)


def _finetune(settings: Settings, labels: Any, events: Any, history: Any) -> Run:
    values = settings.values
    with Console(quiet=values["quiet"]) as console:
        network = _network(values)
        ranking = LabelledRanking(network=network, folds=values["folds"], random_state=values["seed"])
        table = read_table(labels, "labels")
        source = LabelSource(table, values["labels_id"], values["label"], values["labels_split"])
        run = Run.load(values["run"], allow=settings.allow)
        out = Run.create(values["out"], settings.text, overwrite=values["overwrite"], allow=settings.allow)
        reading = {"events": events, "history": history, **values["checks"]}
        finetune_run(run, source, out, ranking, **reading, progress=console.progress)
        console.progress("writing the report")
        report_run(out)
        finish_finetuned(out, values["seed"])
        _show(console, out, asked=network is not None)
    return out


def _network(values: dict[str, Any]) -> FineTunedDetector | None:
    from anomaly.detectors.finetuned import FineTunedDetector
    from anomaly.nn.adapters import TRAINS
    from anomaly.nn.lessons import HEADS

    for key, known in (("head", (*HEADS, "none")), ("trains", TRAINS)):
        if values[key] not in known:
            raise ConfigError(f"{key}={values[key]}: expected one of {', '.join(known)}")
    if values["head"] == "none":
        return None
    names = ("head", "trains", "top_k", "rank", "alpha", "prevalence", "max_epochs", "folds")
    return FineTunedDetector(detector=None, random_state=values["seed"], **{name: values[name] for name in names})


def _show(console: Console, run: Run, *, asked: bool) -> None:
    told, scores = run.facts["finetuned"], run.scores
    console.say(f"{told['anomalous']} anomalous and {told['normal']} normal labels learnt")
    if told["share"] is not None:
        console.say(
            f"{told['trains']} trained {told['share']:.2%} of the network's weights for {told['epochs']} epochs "
            f"(head: {told['head']})"
        )
        if not told["network_heard"]:
            console.say("hidden labels are not ranked better with the network: the ranking does without it")
    elif asked:
        console.note("note: no network has learnt: the run has none, or a class has too few labels to hide some")
    if told["precision_before"] is not None:
        before, after = told["precision_before"], told["precision_after"]
        console.say(f"average precision of hidden labels: {before:.3f} without the others, {after:.3f} with them")
    if not told["helps"]:
        console.note(
            "note: the labels are too few to rank better than the score without them; the ranking stays as it was"
        )
    columns = [c for c in ("rank", "id", "sequence", "entity", "posterior", "score") if c in scores.columns]
    console.table("highest posteriors", scores.sort("rank").head(_TOP).select(columns).to_dicts())
    console.say(f"{amount(scores.height, 'item')} ranked, {int(scores['flagged'].sum()):,} flagged; all in {run.path}")


def _name(given: Any) -> str | None:
    """Return what a kept configuration says of a path or a frame."""
    if given is None:
        return None
    return str(given) if hasattr(given, "__fspath__") or isinstance(given, str) else type(given).__name__
