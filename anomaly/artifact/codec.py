"""Any fitted object of the package as a folder: its constructor's arguments and its attributes ending in ``_``.

Arrays and weights go to safetensors, tables to Arrow IPC, estimators to skops, everything else to JSON. Nothing is
pickled, and reading builds only classes of this package (or of one that the caller names).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from safetensors import SafetensorError

from anomaly.artifact.estimators import is_estimator, read_estimator, write_estimator
from anomaly.atomic import replacing_folder
from anomaly.errors import ArtifactError
from anomaly.tree import TAG, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OBJECT, _ARRAYS = "object.json", "arrays.safetensors"
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError),
    *(SafetensorError, pl.exceptions.PolarsError),
)
"""What reading raises where a file is missing, cut short, altered, or names what this version has not."""


def dump(obj: Any, folder: Path | str, allow: Sequence[str] = ()) -> Path:
    """Write a fitted object as a folder, in place of what was there.

    Parameters
    ----------
    allow : further packages whose classes may be written

    Raises
    ------
    ArtifactError
        If the object holds a type that cannot be written safely; the message names it and its place.
    """
    folder = Path(folder)
    with replacing_folder(folder) as temporary:
        writer = _Writer(temporary, allow)
        note = writer.aside(obj, "")
        writer.finish(note)
    return folder


def load(folder: Path | str, allow: Sequence[str] = ()) -> Any:
    """Build the object that `dump` wrote.

    Raises
    ------
    ArtifactError
        If the folder is missing or damaged, or names a class outside the package and `allow`.
    """
    folder = Path(folder)
    try:
        note = json.loads((folder / _OBJECT).read_text(encoding="utf-8"))
        return _Reader(folder, allow).fetch(note)
    except _DAMAGE as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(f"{folder}: missing, damaged or of another version ({message})") from error


class _Writer:
    def __init__(self, folder: Path, allow: Sequence[str]) -> None:
        self.folder = folder
        self.allow = allow
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}

    def aside(self, value: Any, path: str) -> dict[str, Any]:
        """Write what is not plain and return the note that leads back to it."""
        name = path.strip(".") or "value"
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        if isinstance(value, (pl.Series, pl.DataFrame)):
            return self._table(value, name)
        if is_estimator(value):
            file = f"{_file_name(name)}.skops"
            write_estimator(value, self.folder / file)
            return {TAG: "estimator", "file": file}
        if _is_tensor(value):
            return self._array(value.detach().cpu().numpy(), name) | {TAG: "tensor"}
        if _is_known(type(value), self.allow):
            return self._object(value, path)
        raise ArtifactError(f"{name} is a {_class_name(type(value))}, which cannot be written safely")

    def finish(self, note: dict[str, Any]) -> None:
        """Write the arrays and the document that names everything."""
        from safetensors.numpy import save_file

        if self.arrays:
            save_file(self.arrays, self.folder / _ARRAYS)
        text = json.dumps(note, indent=1, ensure_ascii=False, allow_nan=False)
        (self.folder / _OBJECT).write_text(text, encoding="utf-8")

    def _array(self, value: np.ndarray[Any, Any], name: str) -> dict[str, Any]:
        kind = value.dtype.kind
        if kind in "UO":
            items = pack(value.ravel().tolist(), self.aside, name)
            return {TAG: "array", "dtype": value.dtype.str, "shape": list(value.shape), "v": items}
        if kind not in "biufmM":
            raise ArtifactError(f"{name} is an array of {value.dtype}, which cannot be written safely")
        flat = np.ascontiguousarray(value).reshape(value.shape)
        self.arrays[name] = flat.view(np.int64) if kind in "mM" else flat.astype(flat.dtype.newbyteorder("="))
        return {TAG: "array", "dtype": value.dtype.newbyteorder("=").str, "key": name}

    def _table(self, value: pl.Series | pl.DataFrame, name: str) -> dict[str, Any]:
        file = f"{_file_name(name)}.arrow"
        frame = value.to_frame() if isinstance(value, pl.Series) else value
        if pl.Object in frame.dtypes:
            raise ArtifactError(f"{name} holds Python objects, which cannot be written safely")
        frame.write_ipc(self.folder / file)
        return {TAG: "series" if isinstance(value, pl.Series) else "frame", "file": file}

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        note: dict[str, Any] = {TAG: "object", "class": _class_name(type(value))}
        note["params"] = {k: pack(v, self.aside, f"{path}.{k}") for k, v in _params(value).items()}
        if _is_module(value):
            return note | self._weights(value, path)
        state = {k: v for k, v in _attributes(value).items() if k.endswith("_") and not k.startswith("_")}
        note["state"] = {k: pack(v, self.aside, f"{path}.{k}") for k, v in state.items()}
        return note

    def _weights(self, module: Any, path: str) -> dict[str, Any]:
        from safetensors.torch import save_file

        file = f"{_file_name(path.strip('.') or 'value')}.safetensors"
        # A copy of each: safetensors refuses tensors that share memory, as tied weights do.
        weights = {k: v.detach().cpu().clone().contiguous() for k, v in module.state_dict().items()}
        save_file(weights, self.folder / file)
        return {"weights": file}


class _Reader:
    def __init__(self, folder: Path, allow: Sequence[str]) -> None:
        self.folder = folder
        self.allow = allow
        self._arrays: dict[str, np.ndarray[Any, Any]] | None = None

    def fetch(self, note: dict[str, Any]) -> Any:
        """Build what a note stands for."""
        readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "array": self._array,
            "tensor": self._tensor,
            "series": lambda n: self._frame(n).to_series(),
            "frame": self._frame,
            "estimator": lambda n: read_estimator(self._path(n["file"])),
            "object": self._object,
        }
        if note[TAG] not in readers:
            raise ArtifactError(f"{self.folder}: unknown kind of value {note[TAG]!r}")
        return readers[note[TAG]](note)

    def _array(self, note: dict[str, Any]) -> np.ndarray[Any, Any]:
        dtype = np.dtype(note["dtype"])
        if "key" in note:
            return self._flat(note["key"]).view(dtype)
        # Filled one by one: numpy would read a list of tuples as one more dimension.
        values = np.empty(len(note["v"]), dtype)
        for i, item in enumerate(unpack(note["v"], self.fetch)):
            values[i] = item
        return values.reshape(note["shape"])

    def _flat(self, key: str) -> np.ndarray[Any, Any]:
        if self._arrays is None:
            from safetensors.numpy import load_file

            self._arrays = load_file(self.folder / _ARRAYS)
        return self._arrays[key]

    def _tensor(self, note: dict[str, Any]) -> Any:
        import torch

        return torch.from_numpy(self._array(note))

    def _frame(self, note: dict[str, Any]) -> pl.DataFrame:
        return pl.read_ipc(self._path(note["file"]))

    def _object(self, note: dict[str, Any]) -> Any:
        kind = _resolve(note["class"], self.allow)
        params = {k: unpack(v, self.fetch) for k, v in note["params"].items()}
        obj = kind(**params)
        if "weights" in note:
            from safetensors.torch import load_file

            obj.load_state_dict(load_file(self._path(note["weights"])))
            return obj.eval()
        for name, value in note["state"].items():
            if not name.endswith("_") or name.startswith("_"):
                raise ArtifactError(f"{self.folder}: {name!r} is no learnt attribute")
            # Past __setattr__: the package's records are frozen.
            object.__setattr__(obj, name, unpack(value, self.fetch))
        return obj

    def _path(self, file: str) -> Path:
        if Path(file).name != file:
            raise ArtifactError(f"{self.folder}: {file!r} leads out of the folder")
        return self.folder / file


def _params(value: Any) -> dict[str, Any]:
    """Return the keyword arguments that build the object anew."""
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    if _is_module(value):
        return dict(value.params)
    if hasattr(value, "get_params"):
        return dict(value.get_params(deep=False))
    names = [n for n in inspect.signature(type(value)).parameters if n not in ("args", "kwargs")]
    return {name: getattr(value, name) for name in names}


def _attributes(value: Any) -> dict[str, Any]:
    """Return the instance's attributes, those in slots included."""
    slots = [s for c in type(value).__mro__ for s in getattr(c, "__slots__", ()) if hasattr(value, s)]
    return {s: getattr(value, s) for s in slots} | getattr(value, "__dict__", {})


def _is_known(kind: type, allow: Sequence[str]) -> bool:
    return kind.__module__.split(".")[0] in ("anomaly", *allow)


def _is_module(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "params")


def _is_tensor(value: Any) -> bool:
    return type(value).__module__ == "torch" and type(value).__name__ == "Tensor"


def _resolve(name: str, allow: Sequence[str]) -> Any:
    """Return the class of a dotted name, judged by its own module before and after it is imported."""
    module, _, attribute = name.rpartition(":")
    if module.split(".")[0] not in ("anomaly", *allow):
        raise ArtifactError(f"{name}: only classes of this package are built; name others with allow=")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not _is_known(found, allow):
        raise ArtifactError(f"{name}: no such class in this version of the package")
    return found


def _class_name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _file_name(path: str) -> str:
    """Return a name that every file system takes; the path itself stays readable in it."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in path)
    if safe == path and len(safe) < 100:
        return safe
    return f"{safe[:80]}-{_digest(path)}"


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]
