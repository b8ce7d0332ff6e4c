"""Disks that fill up or cannot be written, and folders that may not be written: one sentence, the true status, and the same result afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from attacks.stages import STAGES, Ended, Stage, World, continued, describe, differences, launch, wait
from syntype.files import read_json_object

__all__ = ["attack_disk"]

MEGABYTES = 30
NOBODY = 65534
PAGE = 4096


def attack_disk(world: World, number: int) -> dict[str, dict[str, Any]]:
    """For each command and each kind of disk: ``attacks``, ``lost`` and ``faults``. Needs the right to mount."""
    told = {}
    for stage in STAGES:
        told[f"{stage.name}, full disk"] = _full(world, stage, number)
        told[f"{stage.name}, read-only disk"] = _refused(world, stage, "read-only", _read_only)
        told[f"{stage.name}, folder without permission"] = _refused(world, stage, "permission", _forbidden)
        told[f"{stage.name}, photographs on a read-only disk"] = _read_only_inputs(world, stage)
    return told


def _full(world: World, stage: Stage, number: int) -> dict[str, Any]:
    wanted, by_itself, _, size = world.reference(stage)
    words, rng = world.words(stage), np.random.default_rng([19, STAGES.index(stage)])
    attacks, lost, faults = 0, 0, {}
    for _ in range(4 * number):
        if attacks == number:
            break
        trial = world.trial("full")
        with _mounted(trial, f"size={MEGABYTES}m"):
            (trial / "mine.txt").write_text("here before", encoding="utf-8")
            room = int(rng.integers(0, size))
            _fill(trial, room)
            ended = wait(launch(words, trial))
            if ended.code == 0:
                continue  # there was room enough
            attacks += 1
            told = _sentence(ended, "full") + _status(trial / "out")
            (trial / "filler").unlink()
            on_the_way, again = continued(stage, words, trial)
            told += on_the_way
            if again.code == 0:
                told += differences(describe(trial / "out"), wanted, by_itself)
            if (trial / "mine.txt").read_text(encoding="utf-8") != "here before" or {path.name for path in trial.iterdir()} != {"mine.txt", "out"}:
                told.append("something beside the result was changed")
        lost += bool(told)
        for one in set(told):
            faults.setdefault(one, []).append(room)
        print(f"disk: {stage.name} {attacks}/{number}, room for {room} of {size} bytes{': ' + '; '.join(told)[:400] if told else ''}", flush=True)
    return _counted(world, attacks, lost, faults)


def _fill(trial: Path, room: int) -> None:
    """Fill the disk with a file so that about ``room`` bytes stay free."""
    with (trial / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1 << 16))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - (room // PAGE) * PAGE))


def _refused(world: World, stage: Stage, kind: str, place: Callable[[Path], Any]) -> dict[str, Any]:
    trial = world.trial("closed")
    with place(trial) as before:
        before_files = sorted(path.name for path in trial.iterdir())
        ended = wait(launch(world.words(stage), trial, before=before))
        told = _sentence(ended, kind)
        if sorted(path.name for path in trial.iterdir()) != before_files:
            told.append("something was written all the same")
    print(f"disk: {stage.name}, {kind}{': ' + '; '.join(told)[:400] if told else ''}", flush=True)
    return _counted(world, 1, bool(told), {one: [] for one in told})


def _read_only_inputs(world: World, stage: Stage) -> dict[str, Any]:
    """The inputs lie on a disk that cannot be written, such as a camera's card; the result goes elsewhere and is the same, but for their place."""
    wanted, by_itself, _, _ = world.reference(stage)
    trial, card = world.trial("card"), world.root / "card"
    card.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", world.world, card], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", card], check=True)
        ended = wait(launch(world.words(stage, "../../card"), trial))
    finally:
        subprocess.run(["umount", card], check=True)
    told = [] if ended.code == 0 else [f"ends with exit code {ended.code}: {ended.error or ended.err[-200:]}"]
    if ended.code == 0:
        found = describe(trial / "out")
        told += [
            one
            for one in differences(found, wanted, by_itself | {"run.json", "recipe.yaml", "report.html"})
            if "world" not in one and "card" not in one
        ]
    print(f"disk: {stage.name}, read-only inputs{': ' + '; '.join(told)[:400] if told else ''}", flush=True)
    return _counted(world, 1, bool(told), {one: [] for one in told})


def _sentence(ended: Ended, kind: str) -> list[str]:
    told = []
    if not ended.clean:
        told.append(f"exit code {ended.code}, not one sentence: {(ended.error or ended.err[-200:])[:300]}")
    elif ended.code == 0:
        told.append("ends as if all were well")
    elif kind not in ended.error:
        told.append(f"the sentence does not say '{kind}': {ended.error[:300]}")
    if len([line for line in ended.err.splitlines() if line.startswith("syntype: error: ")]) > 1:
        told.append("more than one error is printed")
    return told


def _status(out: Path) -> list[str]:
    path = out / "run.json"
    if not path.exists():
        return []
    status = read_json_object(path).get("status")
    told = [] if status == "failed" else [f"run.json says {status!r} with the process gone"]
    return told + [f"{path.name.split('.')[0]} temporary file is left" for path in out.rglob("*.tmp")]


def _counted(world: World, attacks: int, lost: int, faults: dict[str, Any]) -> dict[str, Any]:
    told = world.untouched()
    return {"attacks": attacks, "lost": int(lost) + bool(told), "faults": faults | {one: [] for one in told}}


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def _read_only(trial: Path) -> Iterator[None]:
    with _mounted(trial, "ro,size=1m"):
        yield None


@contextmanager
def _forbidden(trial: Path) -> Iterator[Callable[[], None]]:
    """The command runs as a user who may read the folder and not write it."""
    trial.chmod(0o555)

    def become_nobody() -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    try:
        yield become_nobody
    finally:
        trial.chmod(0o755)


def can_mount(root: Path) -> bool:
    """Whether this process may mount a disk."""
    place = root / "try-mount"
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", place], check=True)
    shutil.rmtree(place, ignore_errors=True)
    return done.returncode == 0
