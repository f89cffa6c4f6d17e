"""scikit-learn and PyOD estimators as skops files, of which only known types are ever built."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from anomaly.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = ("sklearn", "pyod")
"""Packages whose objects are kept as skops files."""

TRUSTED = re.compile(
    r"(sklearn\.(ensemble|tree|neighbors|metrics|decomposition|preprocessing|covariance|linear_model|svm|mixture|"
    r"cluster|kernel_approximation|random_projection|pipeline|impute|isotonic|utils)"
    r"|pyod\.models|numpy|numpy\.(random|dtypes)|scipy\.(sparse|spatial|stats|interpolate))(\.\w+)*"
)
"""Modules whose classes a skops file may name."""


def is_estimator(value: Any) -> bool:
    """Return whether the object is one that goes into a skops file."""
    return type(value).__module__.split(".")[0] in FOREIGN


def write_estimator(value: Any, path: Path) -> None:
    """Write an estimator.

    Raises
    ------
    ArtifactError
        If it holds types that could not be read back safely; the message names them.
    """
    import skops.io

    try:
        data = skops.io.dumps(value)
    except Exception as error:  # skops raises whatever the foreign object raises
        raise ArtifactError(f"{_name(value)} cannot be kept without pickle ({error}); use another detector") from error
    _refuse_unknown(skops.io.get_untrusted_types(data=data), _name(value))
    path.write_bytes(data)


def read_estimator(path: Path) -> Any:
    """Build the estimator of a file, once every type in it is known.

    Raises
    ------
    ArtifactError
        If the file is damaged or names a type outside the fixed list.
    """
    import skops.io

    try:
        data = path.read_bytes()
        types = skops.io.get_untrusted_types(data=data)
    except Exception as error:  # a damaged archive fails in many ways
        raise ArtifactError(f"{path}: a damaged estimator file ({error})") from error
    _refuse_unknown(types, str(path))
    return skops.io.loads(data, trusted=types)


def _refuse_unknown(types: list[str], where: str) -> None:
    unknown = sorted(name for name in types if not _is_trusted(name))
    if unknown:
        raise ArtifactError(f"{where}: types that are not trusted: {', '.join(unknown)}")


def _is_trusted(name: str) -> bool:
    """Return whether the name is a class (never a function) that lives in one of the trusted modules."""
    module, _, attribute = name.rpartition(".")
    if not TRUSTED.fullmatch(module):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and TRUSTED.fullmatch(found.__module__) is not None


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
