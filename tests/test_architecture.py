"""The house keeps its order: imports go up the rooms only, modules stay small, nothing is pickled or printed."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "anomaly"
GROUND = ("errors", "atomic", "tree", "base")
ROOMS = (
    *("metrics", "events", "simulation", "sequences", "nn", "models", "features", "scores", "detectors"),
    *("ensemble", "explain", "active", "artifact", "report", "labelling", "serving", "sweeps", "commands"),
)
ORDER = {name: place for place, name in enumerate((*GROUND, *ROOMS))}
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def type_checking_lines(path: Path) -> set[int]:
    blocks = [n for n in ast.walk(tree(path)) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    return {line for block in blocks for node in block.body for line in range(node.lineno, node.end_lineno + 1)}


def imports(path: Path) -> list[tuple[int, str]]:
    """Return the line and full name of every import of the package, wherever in the file."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return [(line, name) for line, name in found if name.split(".")[0] == "anomaly"]


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_imports_go_up_only(path: Path) -> None:
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    assert here in ORDER, f"{path}: no such room; the rooms are {', '.join(ROOMS)}"
    # The contracts name what later rooms exchange; the names are for the type checker alone.
    allowed = type_checking_lines(path) if here == "base" else set()
    for line, name in imports(path):
        there = name.split(".")[1]
        if there == "__version__" or line in allowed:
            continue
        assert ORDER[there] <= ORDER[here], f"{path}:{line}: {here} imports {name}, which comes later"


def test_no_circles() -> None:
    names = {module(path): path for path in MODULES}
    arrows = {}
    for name, path in names.items():
        hidden = type_checking_lines(path)
        targets = {target for line, target in imports(path) if line not in hidden}
        # `from anomaly.a import b` names the module a.b, or something in a.
        arrows[name] = {t if t in names else t.rpartition(".")[0] for t in targets} & set(names) - {name, "anomaly"}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join((*above[above.index(name) :], name))}"
        if name not in done:
            for target in sorted(arrows[name]):
                visit(target, (*above, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_modules_are_small_and_named_by_a_noun(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert not {"utils", "common", "helpers", "misc"} & set(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_nothing_is_pickled_printed_or_swallowed(path: Path) -> None:
    for node in ast.walk(tree(path)):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}: bare except"
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        banned = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "pandas"}
        assert not {name.split(".")[0] for name in names} & banned, f"{where}: imports {names}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "torch.load", "torch.save", "np.random.seed", "random.seed") or (
                path.name == "classical.py" and called.endswith("random.seed")
            ), f"{where}: calls {called}"
            pickled = [k for k in node.keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"]
            assert not pickled, f"{where}: allow_pickle"


def test_import_is_quick_and_lazy() -> None:
    import subprocess
    import sys

    heavy = "('torch', 'pyod', 'sklearn', 'polars', 'matplotlib', 'hydra', 'pandas')"
    code = (
        "import sys, time; t = time.perf_counter(); import anomaly; "
        f"print(time.perf_counter() - t, [m for m in {heavy} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, heavy_ones = out.split(" ", 1)
    assert float(seconds) < 1
    assert heavy_ones.strip() == "[]"


def test_public_names_resolve() -> None:
    import anomaly

    for name in anomaly.__all__:
        assert getattr(anomaly, name).__name__ == name
    assert set(anomaly.__all__) <= set(dir(anomaly))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = anomaly.nothing


def test_scoring_needs_no_lightning() -> None:
    code = "import sys, anomaly.detectors.neural, anomaly.artifact.run; print('pytorch_lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
