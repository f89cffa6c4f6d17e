"""Work in a process of its own that may take so much time and memory and no more.

Processes are forked from one server that has imported what they need and computed nothing: a cell starts in
milliseconds, and nothing that another cell did is in its memory.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.sweeps.warm import VARIABLE as WARM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    Row = dict[str, Any]

_UNITS = {"bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
_WARM_MODULE = "anomaly.sweeps.warm"
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Limits:
    """What a process may take.

    Attributes
    ----------
    seconds : wall time
    memory_gb : gigabytes (1e9) beyond the libraries; None sets no limit
    threads : of the numeric libraries
    """

    seconds: float = 300.0
    memory_gb: float | None = 6.0
    threads: int = 1


class Child:
    """A process that returns one row, under limits.

    Parameters
    ----------
    work : called in the process; picklable
    """

    def __init__(self, work: Callable[[], Row], limits: Limits) -> None:
        self.limits = limits
        self._inlet, outlet = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_main, args=(outlet, work, limits))
        self._process.start()
        outlet.close()
        self.deadline = time.monotonic() + limits.seconds

    @property
    def waits_on(self) -> Connection:
        """What turns ready when the process has ended or has a row."""
        return self._inlet

    def late(self) -> bool:
        """Return whether the time is up."""
        return time.monotonic() > self.deadline

    def end(self) -> Row:
        """Return the row of a process that is ready, or that of one whose time is up and that is killed now."""
        row: Row | None = None
        if not self._inlet.poll(0) and self.late():
            self.kill()
            return {"status": "skipped", "reason": f"timed out after {self.limits.seconds:g} s"}
        with suppress(EOFError):
            row = self._inlet.recv()
        self._process.join(10)
        self.kill()
        return row or self._death()

    def kill(self) -> None:
        """End the process and what it started."""
        if self._process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._inlet.close()

    def _death(self) -> Row:
        code = self._process.exitcode or 0
        if code >= 0:
            return {"status": "failed", "reason": f"ended with exit code {code} and no word"}
        name = signal.Signals(-code).name
        if self.limits.memory_gb is not None and name in ("SIGKILL", "SIGABRT"):
            return {"status": "skipped", "reason": f"died of {name}, as without memory; {_limit_text(self.limits)}"}
        return {"status": "failed", "reason": f"died of {name}"}


def wait_for(children: Sequence[Child]) -> list[Child]:
    """Return the children that have ended, or whose time is up; at least one."""
    while True:
        first = min(child.deadline for child in children)
        ready = wait([child.waits_on for child in children], timeout=max(first - time.monotonic(), 0.0) + 0.01)
        ended = [child for child in children if child.waits_on in ready or child.late()]
        if ended:
            return ended


@contextmanager
def warm_server(modules: Sequence[str], threads: int) -> Iterator[None]:
    """Let the server import modules before it is asked for a process; thread pools take their size from here."""
    told = {**dict.fromkeys(_THREADS, str(threads)), WARM: ",".join(modules)}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    _CONTEXT.set_forkserver_preload(["anomaly.sweeps.cell", "anomaly.sweeps.competitors", *modules, _WARM_MODULE])
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def out_of_memory(error: MemoryError | RuntimeError, limits: Limits) -> Row:
    """Return the row of a process that asked for more than it may have."""
    found = re.search(r"([\d.]+) ?(bytes|[KMGT]iB)", str(error))
    asked = float(found[1]) * _UNITS[found[2]] / 1e9 if found else 0.0
    if limits.memory_gb is not None and asked > limits.memory_gb:
        return {"status": "skipped", "reason": f"needs {asked:.3g} GB; {_limit_text(limits)}"}
    most = "the machine has" if limits.memory_gb is None else f"the {limits.memory_gb:g} GB it may have"
    # What was asked for last says nothing of what was held before.
    last = f" (the last request was {asked:.3g} GB)" if found else ""
    return {"status": "skipped", "reason": f"out of memory: more than {most}{last}"}


def _limit_text(limits: Limits) -> str:
    return "there is no limit" if limits.memory_gb is None else f"the limit is {limits.memory_gb:g} GB"


def _main(outlet: Connection, work: Callable[[], Row], limits: Limits) -> None:
    # A group of its own, so that whatever it starts can be ended with it.
    os.setpgid(0, 0)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _silence()
    before = _status("VmRSS")
    _limit_memory(limits)
    try:
        row = _limited(work, limits)
    except MemoryError as error:
        row = out_of_memory(error, limits)
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    row["peak_mb"] = round(max(_status("VmHWM") - before, others) / 1e6, 1)
    outlet.send(row)
    outlet.close()
    # The interpreter's own end would run foreign exit handlers, whose failures are nobody's concern any more.
    os._exit(0)


def _limited(work: Callable[[], Row], limits: Limits) -> Row:
    from threadpoolctl import threadpool_limits

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(limits.threads)
    try:
        with threadpool_limits(limits.threads):
            return work()
    except RuntimeError as error:
        # So torch says it.
        if "alloc" in str(error):
            return out_of_memory(error, limits)
        raise


def _limit_memory(limits: Limits) -> None:
    """Limit private memory; mapped files and libraries do not count."""
    if limits.memory_gb is None or not sys.platform.startswith("linux"):
        return
    allowed = int(_status("VmData") + limits.memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _silence() -> None:
    """Let foreign code print into nothing."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _die_with_parent() -> None:
    """End the group when whoever asked for the work is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


def _status(name: str) -> float:
    """Return a line of the kernel's account of this process, in bytes; 0 where there is none."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.exists() else None
    return float(found[1]) * 1024 if found else 0.0
