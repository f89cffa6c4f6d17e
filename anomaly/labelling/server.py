"""The server of one session: an address, and who may come."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

from anomaly.errors import ConfigError
from anomaly.labelling.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from anomaly.labelling.identity import Gate
    from anomaly.labelling.page import Desk

KEEP_ALIVE = 120
"""Seconds that a silent connection stays open: people read a case for longer than the five seconds of a web service."""


def serve(desk: Desk, gate: Gate, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Answer until interrupted or terminated.

    Parameters
    ----------
    port : 0 takes a free one
    say : is told the address, and the words that let people in

    Raises
    ------
    ConfigError
        If the address cannot be had.
    """
    import uvicorn

    listener = _listen(host, port)
    port = int(listener.getsockname()[1])
    name = f"[{host}]" if ":" in host else host
    if gate.guarded:
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else name
        say(f"label at http://{shown}:{port}/enter?token={gate.token}")
        say(f"leads at http://{shown}:{port}/enter?token={gate.lead_token}")
    else:
        say(f"label at http://{name}:{port}/")
    config = uvicorn.Config(
        create_app(desk, gate, port=port),
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE,
    )
    # A service manager ends a server by this signal; what follows the session is to happen then as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A server that was killed leaves its address in a waiting state; the next one takes it over.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(f"host={host} port={port}: cannot be listened on ({error}); choose another port=") from error
    return listener
