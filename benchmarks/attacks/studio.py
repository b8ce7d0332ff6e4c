"""``kill -9`` on a job of the Studio, on its server, or on both; the queue, or the next server's, must bring every job to the same end.

The queue, its database and its job processes are the Studio's own. Only the start of a job's process is another one: a fork, as in ``stages``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

from attacks.stages import World, describe, differences
from syntype.ownership import RUN_ID_VARIABLE

__all__ = ["attack_studio"]

NAME = "result"
UPLOAD = "0" * 32
VICTIMS = ("job", "server", "job and server")
LIMIT = 300
"""Seconds after which a job has not ended and never will."""


def attack_studio(world: World, number: int) -> dict[str, dict[str, Any]]:
    """For each kind of job: ``attacks``, ``lost``, ``faults``; ``number`` kills in all, dealt out in turn."""
    requests = _requests(world)
    told: dict[str, dict[str, Any]] = {}
    undisturbed = {kind: _undisturbed(world, request) for kind, request in requests.items()}
    rng = np.random.default_rng(24)
    for attack in range(number):
        kind = list(requests)[attack % len(requests)]
        victim = VICTIMS[attack // len(requests) % len(VICTIMS)]
        wanted, by_itself, seconds = undisturbed[kind]
        moment = float(rng.uniform(0, seconds))
        faults = _attack(world, requests[kind], victim, moment, wanted, by_itself)
        row = told.setdefault(f"{kind} job", {"attacks": 0, "lost": 0, "faults": {}})
        row["attacks"] += 1
        row["lost"] += bool(faults)
        for one in faults:
            row["faults"].setdefault(one, []).append(round(moment, 3))
        print(f"studio: {kind}, {victim} killed at {moment:.2f} of {seconds:.2f} s{': ' + '; '.join(faults)[:400] if faults else ''}", flush=True)
    return told


def _requests(world: World) -> dict[str, dict[str, Any]]:
    requests: dict[str, dict[str, Any]] = {
        "import": {"upload": UPLOAD},
        "train": {"family": "collage", "collection": "reef", "size": 32},
        "adapt": {"generator": "fastgan", "collection": "reef", "species": world.new_species, "shots": 4, "steps": 6},
        "generate": {"generator": "collage", "num": 12},
        "curate": {"synthetic": "synthetic", "real": "reef"},
        "export": {"collection": "reef"},
    }
    return {kind: {"kind": kind, "name": NAME, **request} for kind, request in requests.items()}


def _workspace(world: World) -> Path:
    """A new workspace with the inputs in it, always at the same place, as some results name the place of others."""
    root = world.trial("studio") / "workspace"
    for kind, names in (("collections", ("reef", "synthetic")), ("generators", ("fastgan", "collage"))):
        for name in names:
            shutil.copytree(world.world / name, root / kind / name)
    shutil.copytree(world.world / "photographs", root / "uploads" / UPLOAD)
    return root


def _place(root: Path, request: dict[str, Any]) -> Path:
    from syntype.apps.web.requests import parse_request

    return root / parse_request(request).place / NAME


def _undisturbed(world: World, request: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str], float]:
    """The result, files that differ by themselves, and the job's seconds."""
    found, seconds = [], 0.0
    for _ in range(2):
        root = _workspace(world)
        began = time.monotonic()
        server = _start(lambda root=root: _serve(root, request))  # type: ignore[misc]
        _end(server)
        seconds = time.monotonic() - began
        if (status := _status(root)) != "finished":
            raise SystemExit(f"the job {request['kind']} is {status} undisturbed: {_log(root)}")
        found.append(describe(_place(root, request)))
    return found[1], frozenset(name for name in found[0] if found[0][name] != found[1].get(name)), seconds


def _attack(world: World, request: dict[str, Any], victim: str, moment: float, wanted: dict[str, Any], by_itself: frozenset[str]) -> list[str]:
    root = _workspace(world)
    inputs = {name: describe(root / name) for name in ("collections/reef", "collections/synthetic", "generators/collage")}
    server = _start(lambda: _serve(root, request))
    time.sleep(moment)
    if "server" in victim:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    if "job" in victim:
        with suppress(OSError, ValueError):
            os.kill(int((root / "jobs" / "1" / "pid").read_text(encoding="ascii")), signal.SIGKILL)
    if "server" in victim:
        server = _start(lambda: _serve(root, request))
    _end(server)
    if (status := _status(root)) != "finished":
        return [f"the job is {status}: {_log(root)[-200:]}"]
    told = differences(describe(_place(root, request)), wanted, by_itself)
    for name, was in inputs.items():
        told += [f"{name}: {one}" for one in differences(describe(root / name), was)]
    return told


def _start(function: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(0)
    return pid


def _end(server: int) -> None:
    """Wait for a server that ends with its job."""
    end = time.monotonic() + LIMIT
    while os.waitpid(server, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(server, signal.SIGKILL)
        time.sleep(0.02)


def _status(root: Path) -> str:
    path = root / "ended.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else "never at an end"


def _log(root: Path) -> str:
    path = root / "jobs" / "1" / "log"
    return " ".join(path.read_text(errors="replace").split())[-400:] if path.exists() else ""


# The server -----------------------------------------------------------------------------------------------------------------------


def _serve(root: Path, request: dict[str, Any]) -> None:
    """A queue that works until its one job has ended, whose status it writes to ``ended.json``; the job is added if it is not there."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        _fork_jobs(theirs)
        os._exit(0)
    theirs.close()
    from syntype.apps.web import processes
    from syntype.apps.web import queue as queues
    from syntype.apps.web.limits import Limits
    from syntype.apps.web.requests import parse_request
    from syntype.apps.web.reviews import Reviews
    from syntype.apps.web.store import Store
    from syntype.apps.web.uploads import Uploads
    from syntype.apps.web.workspace import Workspace

    _Forked.forks = ours
    processes.subprocess = SimpleNamespace(Popen=_Forked, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]
    workspace = Workspace(root)
    store = Store(f"sqlite:///{root / 'studio.sqlite'}")
    queue = queues.Queue(store, workspace, Reviews(store, workspace), Uploads(workspace, Limits(), store))
    if not queue.list(1):
        queue.add(parse_request(request))
    queue.start()
    while (row := queue.get(1)).status in queues.ACTIVE:
        time.sleep(0.05)
    (root / "ended.json").write_text(json.dumps(row.status), encoding="utf-8")


class _Forked:
    """Stands in for ``subprocess.Popen`` where the Studio starts a job: a fork of a process that has imported what jobs need."""

    forks: socket.socket

    def __init__(
        self, command: Sequence[str], *, stdout: BinaryIO, stderr: BinaryIO, pass_fds: Sequence[int], env: Mapping[str, str], **_: Any
    ) -> None:
        *_, folder, _, _ = command[: command.index("--") + 1]
        words = json.dumps([folder, list(command[command.index("--") + 1 :]), env[RUN_ID_VARIABLE]])
        socket.send_fds(self.forks, [words.encode()], [pass_fds[0], stdout.fileno(), stderr.fileno()])
        self.pid = int(self.forks.recv(20))

    def poll(self) -> None:
        """The process that forks takes note of the ends."""


def _fork_jobs(asked: socket.socket) -> None:
    """Fork a job for every message, until the server is gone. One thread, so that a fork is safe."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(asked, 1 << 16, 3)
        if not message:
            return
        folder, command, run_id = json.loads(message)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            asked.close()
            os.dup2(files[1], 1)
            os.dup2(files[2], 2)
            from syntype.apps.web.worker import work

            os.environ[RUN_ID_VARIABLE] = run_id
            code = 1
            try:
                code = work([folder, str(files[0]), "--", *command])
            finally:
                os._exit(code)
        for file in files:
            os.close(file)
        asked.send(str(pid).encode())
