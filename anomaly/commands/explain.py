"""`anomaly explain`: why sequences score as they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.artifact.run import Run
from anomaly.atomic import write_json
from anomaly.commands.console import Console
from anomaly.commands.narration import print_story
from anomaly.errors import ConfigError
from anomaly.explain.words import Language

if TYPE_CHECKING:
    from anomaly.commands.compose import Settings
    from anomaly.explain.story import Story

_WRITTEN = {"en": "written: ", "zh": "已写入："}
PICTURES = (".png", ".svg")


def command(settings: Settings) -> None:
    """Explain sequences of a run, or of new data, and write what is asked for."""
    values = settings.values
    out = None if values["out"] is None else Path(values["out"])
    if out is not None and out.suffix not in (".json", *PICTURES):
        raise ConfigError(f"out={out}: expected a name that ends in .json, {' or '.join(PICTURES)}")
    run = Run.load(values["run"], allow=settings.allow)
    with Console(quiet=values["quiet"]) as console:
        console.progress("explaining")
        stories = _tell(run, values, values["language"])
        for story in stories:
            print_story(console, story)
        if run.ensemble.labelled_ is not None and run.ensemble.labelled_.helps_:
            console.note("note: the score without labels is explained; what the labels moved is in the run's scores")
        if out is None:
            return
        if values["language"] == "zh" and out.suffix in PICTURES and not _draws_chinese():
            console.note("note: pictures are in English, as no font with Chinese is installed, such as Noto Sans CJK")
            stories = _tell(run, values, "en")
        console.say(_WRITTEN[values["language"]] + ", ".join(str(path) for path in _write(stories, out)))


def _tell(run: Run, values: dict[str, Any], language: Language) -> list[Story]:
    return run.explain(
        ids_of(values["sequence"]),
        top=values["top"],
        events=values["events"]["path"],
        history=values["history"]["path"],
        until=values["events"]["until"],
        shown=values["shown"],
        contrast=values["contrast"],
        language=language,
        shapley=values["shapley"],
        bad_rows=values["checks"]["bad_rows"],
        max_bad=values["checks"]["max_bad"],
    )


def _draws_chinese() -> bool:
    # Plotting takes long to import, and most explanations are told in words.
    from anomaly.report.casefigure import chinese_fonts

    return bool(chinese_fonts())


def ids_of(sequence: str | None) -> list[str] | None:
    """Return the ids that a value names: the lines of a file, or itself."""
    if sequence is None:
        return None
    try:
        is_file = Path(sequence).is_file()
    except OSError:  # Too long for a name of a file.
        is_file = False
    if not is_file:
        return [sequence]
    try:
        ids = [line.strip() for line in Path(sequence).read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"sequence={sequence}: is no text; a file of ids has one in each line") from error
    if not any(ids):
        raise ConfigError(f"sequence={sequence}: the file holds no id; write one in each line")
    return [text for text in ids if text]


def _write(stories: list[Story], out: Path) -> list[Path]:
    """Write stories as JSON, or a picture of each: the first under the name itself, the others numbered."""
    if out.suffix == ".json":
        write_json(out, [story.to_dict() for story in stories])
        return [out]
    from anomaly.report.casefigure import draw_story

    paths = [out if not k else out.with_stem(f"{out.stem}_{k + 1}") for k in range(len(stories))]
    return [draw_story(story, path) for story, path in zip(stories, paths, strict=True)]
