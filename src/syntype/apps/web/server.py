"""The server process: serves one workspace on one port until Ctrl-C."""

from __future__ import annotations

import logging
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from syntype.apps.web.app import create_app
from syntype.apps.web.limits import StudioConfig, is_loopback
from syntype.apps.web.workspace import Workspace
from syntype.errors import InputError

__all__ = ["serve"]

_BUSY = object()
"""In place of the request after which a connection waits: it does not wait."""


def serve(folder: Path, config: StudioConfig, database: str | None = None) -> None:
    """Serve a workspace until Ctrl-C or SIGTERM. The address is printed on standard output, everything else on standard error.

    Raises:
        InputError: the workspace, the address or the database cannot be used.
    """
    workspace = Workspace(folder)
    with workspace.claimed():
        if config.token is None and (config.public or not is_loopback(config.host)):  # visitors and owners must be told apart
            config = config.model_copy(update={"token": _make_token()})
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
        if config.cluster is not None and config.cluster.executor == "slurm" and database is None:
            told = "The database lies in the workspace, where a network disk may damage it. Give --database a file on a disk of this machine"
            print(f"{told} (sqlite:////var/lib/syntype/studio.sqlite), or PostgreSQL.", file=sys.stderr, flush=True)
        app = create_app(workspace, config, database)
        listener = _listen(config)
        port = listener.getsockname()[1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        print(f"The Studio over {folder}: http://{host}:{port}", flush=True)
        if config.public:
            print(f"Visitors, without the token: http://{host}:{port}/try", file=sys.stderr, flush=True)
        # SecurityMiddleware logs the requests, without queries and cookies.
        protocol = _protocol(config.limits.head_seconds)
        settings = uvicorn.Config(app, http=protocol, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=10)
        uvicorn.Server(settings).run([listener])


def _protocol(head_seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, which also closes connections that wait for a request: with no or half of its headers, or with the rest of a body
    that was refused. (uvicorn itself closes only those on which nothing comes after a response.)
    """

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._waited_since: object = _BUSY
            self._check_later()

        def _check_later(self) -> None:
            self.loop.call_later(head_seconds / 2, self._check)

        def _check(self) -> None:
            if self.transport.is_closing():
                return
            idle = self.conn.their_state is h11.IDLE if self.cycle is None else self.cycle.response_complete
            if idle and self._waited_since is self.cycle:
                self.transport.abort()
                return
            self._waited_since = self.cycle if idle else _BUSY
            self._check_later()

    return Protocol


def _make_token() -> str:
    token = secrets.token_urlsafe(24)
    print(f"Sign in with this token, which is shown only now (--token chooses your own): {token}", file=sys.stderr, flush=True)
    return token


def _listen(config: StudioConfig) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
        listener.listen(128)  # from here on, connections wait instead of being refused
        return listener
    except OSError as error:
        raise InputError(f"cannot answer at {config.host}, port {config.port} ({error.strerror})", "Give another --host or --port.") from None
