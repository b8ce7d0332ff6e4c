"""``kill -9`` at random moments of every command, then what a user would do next; the result is compared with that of an undisturbed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from attacks.stages import STAGES, Stage, World, continued, describe, differences, launch, wait
from syntype.files import read_json_object

__all__ = ["attack_kills"]

PATIENCE = 4
"""So many starts may end before their kill, for each kill that is asked for."""


def attack_kills(world: World, number: int) -> dict[str, dict[str, Any]]:
    """For each command: ``attacks``, ``lost`` (attacks with a fault) and ``faults`` (sentence -> how often)."""
    return {stage.name: _stage(world, stage, number) for stage in STAGES}


def _stage(world: World, stage: Stage, number: int) -> dict[str, Any]:
    wanted, by_itself, seconds, _ = world.reference(stage)
    words, rng = world.words(stage), np.random.default_rng([18, STAGES.index(stage)])
    attacks, lost, faults, moments = 0, 0, {}, []
    for _ in range(number * PATIENCE):
        if attacks == number:
            break
        trial = world.trial()
        moment = float(rng.uniform(0, seconds))
        if wait(launch(words, trial), kill_at=moment).code >= 0:
            continue  # it had ended before
        attacks += 1
        moments.append(round(moment, 3))
        told = _half_collection(trial / "out", wanted)
        on_the_way, ended = continued(stage, words, trial)
        told += on_the_way
        if ended.code == 0:
            told += differences(describe(trial / "out"), wanted, by_itself)
            if (status := read_json_object(trial / "out" / "run.json").get("status")) != "finished":
                told.append(f"run.json says {status!r}")
        lost += bool(told)
        for one in set(told):
            faults.setdefault(one, []).append(round(moment, 3))
        print(f"kills: {stage.name} {attacks}/{number} at {moment:.2f} of {seconds:.2f} s{': ' + '; '.join(told)[:300] if told else ''}", flush=True)
    told = world.untouched()
    return {"attacks": attacks, "lost": lost + bool(told), "faults": faults | ({one: [] for one in told}), "seconds": round(seconds, 2)}


def _half_collection(out: Path, wanted: dict[str, Any]) -> list[str]:
    """A fault if the killed command left what opens as a collection, but is not the whole one."""
    if not (out / "collection.json").exists() or not (out / "metadata.parquet").exists():
        return []
    try:
        found = describe(out)
    except RuntimeError as error:
        return [f"what the kill left looks like a collection and cannot be read: {str(error).strip().splitlines()[-1]}"]
    missing = [name for name in wanted if name.startswith("images/") and name not in found]
    whole = all(found.get(name) == wanted[name] for name in ("metadata.parquet", "collection.json"))
    return [] if whole and not missing else ["what the kill left opens as a collection, but is not the whole one"]
