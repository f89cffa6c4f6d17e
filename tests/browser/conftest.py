"""A labelling server as people start it, and a browser on it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anomaly.active.labels_log import LabelLog
from anomaly.artifact.run import Run
from anomaly.commands.dispatch import dispatch
from anomaly.simulation.shop import Shop

KINDS = "typologies=[card_testing,click_fraud]"
IDS = ('"><script>document.title="owned"</script>', "line one\r\nline two", "long " + "x" * 1500)
HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="session")
def shop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run of counting members, some of whose devices and sessions have hostile names."""
    import polars as pl

    folder = tmp_path_factory.mktemp("labelling")
    Shop(users=40, days=20, sessions_per_user=6, anomaly_rate=0.05, camouflage=0.1).simulate().save(folder / "shop")
    path = folder / "shop" / "events.parquet"
    events = pl.read_parquet(path)
    hostile = events["session"].unique().sort()[:20].to_list()
    events.with_columns(
        device=pl.when(pl.col("session").is_in(hostile)).then(pl.lit(HOSTILE)).otherwise(pl.col("device")),
        session=pl.col("session").replace(dict(zip(hostile, IDS, strict=False))),
    ).write_parquet(path)
    roles = [f"events.path={path}", "events=shop", "events.categorical=[event,category,device,card]", "quiet=true"]
    command = ["train", f"run={folder / 'run'}", *roles, "model=none", "detector=counts", "corruption=none"]
    assert dispatch(command) == 0
    return folder / "run"


class Server:
    """`anomaly label` in a process of its own, over a run of its own."""

    def __init__(self, run: Path, options: tuple[str, ...]) -> None:
        self.run, self.options = run, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "anomaly", "label", f"run={self.run}", f"port={self.port}", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("label at"), line + self.process.stdout.read()
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.url}/enter", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def rows(self) -> list[Any]:
        with LabelLog(self.run / "labels.sqlite", read_only=True) as log:
            return log.read()


class Thread(Server):
    """The same in a thread of this process, which starts sooner and cannot be killed."""

    def start(self) -> None:
        import uvicorn

        from anomaly.commands.compose import compose
        from anomaly.commands.label import open_desk
        from anomaly.labelling.app import create_app
        from anomaly.labelling.identity import Gate

        values = compose("label", [f"run={self.run}", *self.options]).values
        self.log = LabelLog(self.run / "labels.sqlite")
        desk = open_desk(Run.load(self.run), self.log, values)
        gate = Gate.open(self.run, guarded=False, leads=tuple(values["leads"]))
        app = create_app(desk, gate, port=self.port)
        config = uvicorn.Config(app, port=self.port, log_level="warning", lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.log.close()


def _serving(kind: type[Server], shop_run: Path, folder: Path) -> Iterator[Any]:
    servers = []

    def begin(*options: str) -> Server:
        shutil.copytree(shop_run, folder / "run")
        server = kind(folder / "run", (KINDS, "lease=60", *options))
        server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture
def serve(shop_run: Path, tmp_path: Path) -> Iterator[Any]:
    """Return what starts a server over a fresh copy of the run."""
    yield from _serving(Thread, shop_run, tmp_path)


@pytest.fixture
def serve_apart(shop_run: Path, tmp_path: Path) -> Iterator[Any]:
    """Return what starts a server in a process of its own, which can be killed."""
    yield from _serving(Server, shop_run, tmp_path)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    assert path is not None
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Screen:
    """One person at one browser."""

    def __init__(self, context: Any, url: str, name: str) -> None:
        self.context = context
        self.page = context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.goto(url)
        # The field takes the focus by itself, a moment after the page has loaded.
        self.page.wait_for_selector("#name:focus")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("html[data-ready]")

    def _listen(self, message: Any) -> None:
        # A cut network is reported by the browser itself.
        if message.type in ("error", "warning") and "net::" not in message.text and "status of" not in message.text:
            self.troubles.append(message.text)

    @property
    def item(self) -> str:
        return str(self.page.get_attribute("main [data-item]", "data-item"))

    def press(self, key: str) -> str:
        """Press a key that brings another case, and return that case."""
        before = self.item
        self.page.keyboard.press(key)
        self.page.wait_for_function(
            "before => { const main = document.querySelector('main'); const on = main.querySelector('[data-item]');"
            "return !main.hasAttribute('aria-busy') && on && on.dataset.item !== before }",
            arg=before,
        )
        return self.item

    def figure(self, name: str) -> int:
        return int(self.page.inner_text(f"[data-figure={name}]"))

    def sent(self) -> None:
        """Wait until nothing waits."""
        self.page.wait_for_function(
            "() => !JSON.parse(localStorage.getItem(Object.keys(localStorage).find("
            "key => key.startsWith('anomaly.words'))) ?? '[]').length",
            timeout=30_000,
        )


@pytest.fixture
def sit(chromium: Any) -> Iterator[Any]:
    screens = []

    def begin(server: Server, name: str = "ann", **options: Any) -> Screen:
        context = chromium.new_context(**options)
        context.set_default_timeout(60_000)
        screens.append(Screen(context, server.url, name))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.context.close()
        assert not screen.troubles
