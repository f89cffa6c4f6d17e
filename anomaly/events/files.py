"""The files behind a path, and how each is scanned."""

from __future__ import annotations

import csv
import glob
import gzip
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from anomaly.errors import AnomalyError, DataError, SchemaError
from anomaly.events.numbers import Writing, writing_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
}
_COMPRESSED = (".gz", ".zst")
_INFER_ROWS, _WRITING_ROWS = 50_000, 1_000
_SEPARATORS = ",;\t|"
_PIECES, _PIECE = 64, 1 << 20


@dataclass(frozen=True)
class Part:
    """One file: its place and its form."""

    path: Path
    kind: str

    @cached_property
    def separator(self) -> str:
        """What parts the fields of CSV: whatever is most often in its first line, a comma where nothing is."""
        if ".tsv" in self.path.name:
            return "\t"
        names = re.sub(r'"[^"]*"', "", _first_line(self.path))
        return max(_SEPARATORS, key=names.count)

    def writings(self) -> dict[str, Writing]:
        """Return how columns of CSV write numbers whose first rows are numbers, but none that a machine would write."""
        if self.kind != "csv":
            return {}
        head = self._scan().head(_WRITING_ROWS).collect()
        return {column.name: found for column in head if (found := writing_of(column))}

    def scan(self) -> pl.LazyFrame:
        """Return the rows, unread; those of CSV as text, and fields of nested records as columns."""
        return flat(self._scan())

    def _scan(self) -> pl.LazyFrame:
        if self.kind == "csv":
            # Every column as text: a number that is none is then found by us, and its row can be named.
            return pl.scan_csv(self.path, infer_schema=False, separator=self.separator, glob=False)
        if self.kind == "ndjson":
            return pl.scan_ndjson(self.path, infer_schema_length=_INFER_ROWS)
        if self.kind == "parquet":
            return pl.scan_parquet(self.path, glob=False)
        return pl.scan_ipc(self.path, glob=False)

    def types(self) -> dict[str, pl.DataType]:
        """Return the type of each column; of CSV as the first 50,000 rows suggest: a number, or else text."""
        if self.kind != "csv":
            return dict(self.scan().collect_schema())
        head = pl.scan_csv(self.path, infer_schema_length=_INFER_ROWS, separator=self.separator, glob=False)
        found = head.collect_schema()
        return {name: dtype if dtype.is_numeric() else pl.String() for name, dtype in found.items()}


def _first_line(path: Path) -> str:
    if path.suffix == ".zst":
        whole = pl.scan_csv(path, has_header=False, separator="\x01", quote_char=None, infer_schema=False, glob=False)
        return "".join(whole.head(1).collect().row(0)[:1])
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return file.readline(_PIECE).decode(errors="replace")


def kind_of(path: Path) -> str | None:
    """Return what the name of a file says that it holds, None where it says nothing known."""
    suffixes = [s for s in path.suffixes if s not in _COMPRESSED]
    return _KINDS.get(suffixes[-1].lower()) if suffixes else None


def _hidden(path: Path) -> bool:
    """Return whether listings leave a file out: drafts, and what editors and other systems put beside it."""
    return any(part.startswith(".") for part in path.parts)


def find_files(path: str | Path) -> list[Part]:
    """Return the files behind a path, in the order of their names."""
    place = Path(path)
    if place.is_dir():
        found = sorted(p for p in place.rglob("*") if p.is_file() and kind_of(p) and not _hidden(p.relative_to(place)))
        if not found:
            raise DataError(f"{path}: the folder holds no CSV, NDJSON, Parquet or Arrow file")
    elif place.is_file():
        found = [place]
    else:
        # pathlib takes no absolute pattern, and of "**" at the end it gives folders alone.
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())  # noqa: PTH207
        if not found:
            raise DataError(f"{path}: no such file; expected a file, a folder or a glob")
    parts = []
    for file in found:
        kind = kind_of(file)
        if kind is None:
            raise DataError(f"{file}: unknown type; there are {', '.join(_KINDS)}")
        parts.append(Part(file, kind))
    return parts


def flat(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows with a column for each field of nested records, such as ``visitor.id``.

    Raises
    ------
    DuplicateError
        Of Polars, if a field's name is that of another column.
    """
    while nested := {name: t for name, t in frame.collect_schema().items() if isinstance(t, pl.Struct)}:
        columns = [
            column
            for name in frame.collect_schema()
            for column in (_fields(name, nested[name]) if name in nested else [pl.col(name)])
        ]
        counts = Counter(column.meta.output_name() for column in columns)
        if twice := [name for name, n in counts.items() if n > 1]:
            raise pl.exceptions.DuplicateError(f"column {twice[0]} is there twice: as a field of a record too")
        frame = frame.select(columns)
    return frame


def _fields(name: str, record: pl.Struct) -> list[pl.Expr]:
    return [pl.col(name).struct.field(f.name).alias(f"{name}.{f.name}") for f in record.fields]


def joined(parts: list[Part]) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    """Return the rows of all files, unread, and the type of each column.

    Raises
    ------
    SchemaError
        If they differ in their columns; those of JSON may, as it leaves keys out and tells no types.
    """
    scans, schemas = [part.scan() for part in parts], [part.types() for part in parts]
    if all(part.kind == "ndjson" for part in parts):
        whole = pl.concat(scans, how="diagonal_relaxed")
        return whole, dict(whole.collect_schema())
    check_alike(parts, schemas)
    return pl.concat(scans), schemas[0]


def written_alike(parts: list[Part]) -> dict[str, Writing]:
    """Return how the columns of CSV write their numbers, all files together.

    Raises
    ------
    SchemaError
        If two files write those of a column in two ways.
    """
    found: dict[str, tuple[Part, Writing]] = {}
    for part in parts:
        for name, writing in part.writings().items():
            first, known = found.setdefault(name, (part, writing))
            if writing != known:
                raise SchemaError(
                    f"{part.path}: column {name} is written with {_told(writing)}, but with {_told(known)} in "
                    f"{first.path}; write it alike"
                )
    return {name: writing for name, (_, writing) in found.items()}


def _told(writing: Writing) -> str:
    mark = "a decimal comma" if writing.mark == "," else "a decimal point"
    return f"{mark} and {writing.unit}" if writing.unit else mark


def check_alike(parts: list[Part], schemas: list[dict[str, pl.DataType]]) -> None:
    """Raise where the columns of a file are not those of the first."""
    first = schemas[0]
    for part, schema in zip(parts, schemas, strict=True):
        differing = sorted(set(first) ^ set(schema))
        if differing:
            columns = ", ".join(differing)
            raise SchemaError(
                f"{part.path}: columns differ from {parts[0].path}: {columns}; give all files the same, or name those "
                "that have them by a glob"
            )
        if part.kind == "csv":
            continue
        for name, dtype in schema.items():
            if dtype != first[name]:
                raise SchemaError(
                    f"{part.path}: column {name} is {dtype}, but {first[name]} in {parts[0].path}; write it alike"
                )


def as_written(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return whether a column of text can be read as a type and nothing of it is lost, such as leading zeros."""
    typed = text.cast(dtype, strict=False)
    if dtype.is_integer():
        return typed.cast(pl.String).eq_missing(text).all()
    return typed.is_null().eq_missing(text.is_null()).all()


def narrowed(text: pl.Series) -> pl.Series:
    """Return a column of CSV as the numbers or flags that it holds, or as it is where these would lose something."""
    if text.null_count() == len(text):
        return text
    flags = text.str.to_lowercase()
    if flags.drop_nulls().is_in(["true", "false"]).all():
        return (flags == "true").alias(text.name)
    # Digits that are no whole number, as 007 is none, are no fraction either.
    whole = text.str.contains(r"^[+-]?\d+$").all()
    forms = (pl.Int64(), pl.Int128()) if whole else (pl.Float64(),)
    column = text.to_frame()
    good = (form for form in forms if column.select(as_written(pl.col(text.name), form)).item())
    return text.cast(next(good, pl.String()))


def unreadable(name: str, error: Exception) -> AnomalyError:
    """Return a failure to read as one line."""
    if isinstance(error, pl.exceptions.NoDataError) or (Path(name).is_file() and not Path(name).stat().st_size):
        return DataError(f"{name}: empty file")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "utf-8" in reason or "utf8" in reason:
        return DataError(f"{name}: is not UTF-8; save it as UTF-8, for example with iconv -f LATIN1 -t UTF-8")
    if "more fields than" in reason:
        return DataError(f"{name}: {_too_many_fields(Path(name)) or 'a line has more fields than the header'}")
    if not isinstance(error, OSError) and (line := _no_json(Path(name))) is not None:
        return DataError(f"{name}: line {line} is no JSON object; each line holds one")
    return DataError(f"{name}: cannot be read ({reason})")


def _no_json(path: Path) -> int | None:
    """Return the first line of NDJSON, from 1, that holds something else."""
    if not path.is_file() or path.suffix in _COMPRESSED or kind_of(path) != "ndjson":
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        for place, line in enumerate(file, 1):
            try:
                told = json.loads(line) if line.strip() else {}
            except ValueError:
                return place
            if not isinstance(told, dict):
                return place
    return None


def _too_many_fields(path: Path) -> str:
    """Name the first line of CSV that has more fields than the first one."""
    if not path.is_file() or path.suffix in _COMPRESSED:
        return ""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter=Part(path, "csv").separator)
        width = len(next(lines))
        for fields in lines:
            if len(fields) > width:
                quoting = "put text that holds the separator in quotes"
                return f"line {lines.line_num} has {len(fields)} fields, the header {width}; {quoting}"
    return ""


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's size and up to 64 pieces of one MiB, spread evenly over it."""
    size = path.stat().st_size
    yield str(size).encode()
    step = max(size // _PIECES, _PIECE)
    with path.open("rb") as file:
        for start in range(0, size, step):
            file.seek(start)
            yield file.read(_PIECE)
