"""Two processes that write the same folder at once: one is refused in one line, or they end one after the other; the result is that of one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from attacks.stages import STAGES, Ended, Stage, World, describe, differences, launch, wait

__all__ = ["attack_two"]


def attack_two(world: World, number: int) -> dict[str, dict[str, Any]]:
    """For each command against itself, against itself with --resume, and against the next command: ``attacks``, ``lost``, ``faults``."""
    told = {}
    for index, stage in enumerate(STAGES):
        told[f"{stage.name} twice"] = _pair(world, stage, stage, number, index)
        if stage.resumes:
            told[f"{stage.name} --resume twice"] = _pair(world, stage, stage, number, index, resume=True)
        other = STAGES[(index + 1) % len(STAGES)]
        told[f"{stage.name} and {other.name}"] = _pair(world, stage, other, number, index)
    return told


def _pair(world: World, one: Stage, other: Stage, number: int, index: int, *, resume: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng([20, index, resume])
    references = [world.reference(stage) for stage in (one, other)]
    commands = [world.words(stage) + (["--resume"] if resume else []) for stage in (one, other)]
    lost, faults = 0, {}
    for attack in range(number):
        trial = world.trial("two")
        delay = 0.0 if attack % 2 == 0 else float(rng.uniform(0, references[0][2]))
        if resume:
            wait(launch(world.words(one), trial), kill_at=float(rng.uniform(0.2, 0.8)) * references[0][2])
            delay = 0.0
        first = launch(commands[0], trial, "first")
        if delay:
            early = wait_or_go(first, delay)
        else:
            early = None
        second = launch(commands[1], trial, "second")
        ends = [early or wait(first), wait(second)]
        told = _judge(ends, trial, references, early is not None)
        lost += bool(told)
        for sentence in set(told):
            faults.setdefault(sentence, []).append(round(delay, 2))
        codes = [ended.code for ended in ends]
        print(f"two: {one.name} and {other.name}{' --resume' if resume else ''} {codes}{': ' + '; '.join(told)[:400] if told else ''}", flush=True)
    told = world.untouched()
    return {"attacks": number, "lost": lost + bool(told), "faults": faults | {one: [] for one in told}}


def wait_or_go(process: Any, seconds: float) -> Ended | None:
    """Wait so long at most; how the process ended, or None if it has not."""

    end = process.began + seconds
    while time.monotonic() < end:
        info = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is not None:
            return wait(process)
        time.sleep(0.002)
    return None


def _judge(ends: list[Ended], trial: Path, references: list[Any], one_after_other: bool) -> list[str]:
    told = [f"one ends with exit code {ended.code}: {(ended.error or ended.err[-200:])[:300]}" for ended in ends if not ended.clean]
    if all(ended.code != 0 for ended in ends):
        told.append("neither of the two ended well")
        return told
    if all(ended.code == 0 for ended in ends) and not one_after_other:
        told.append("both wrote the same folder at the same time")
    found = describe(trial / "out")
    choices = [differences(found, wanted, by_itself) for (wanted, by_itself, _, _), ended in zip(references, ends, strict=True) if ended.code == 0]
    return told + min(choices, key=len)
