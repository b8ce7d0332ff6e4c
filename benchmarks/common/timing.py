"""Commands of ``syntype`` in processes of their own, what they take, and turns that are compared round by round.

Nothing large is imported here: Linux counts towards a process's peak memory that of the process which started it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.results import stamp
from syntype.files import write_json

__all__ = ["ratio", "rounds", "stage", "syntype"]


def syntype(command: list[object]) -> dict[str, Any]:
    """Run one command of ``syntype`` and give its JSON. Raises ``CalledProcessError`` if it fails or is stopped."""
    words = [str(word) for word in command]
    print("$ " + " ".join(["syntype", *words]), file=sys.stderr, flush=True)
    done = subprocess.run([program(), *words, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def program() -> str:
    return str(Path(sys.executable).with_name("syntype"))


def stage(out: Path, words: list[object]) -> dict[str, Any]:
    """Run one command on one thread unless its result is known.

    Returns:
        ``result`` (the command's JSON), ``seconds``, ``processor_seconds``, ``megabytes`` (peak memory), ``folder_megabytes`` (what it wrote),
        ``measured`` (its stamp).
    """
    kept = out.with_name(out.name + ".json")
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    shutil.rmtree(out, ignore_errors=True)  # begun and not finished: its time would be wrong
    command = [program(), *(str(word) for word in words), "--out", str(out), "--json", "--quiet"]
    print("$ " + " ".join(["syntype", *command[1:]])[:300], file=sys.stderr, flush=True)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)  # what this process alone used
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"syntype {words[0]} failed with exit code {process.returncode}")
    result = {
        "result": json.loads(said),
        "seconds": time.monotonic() - began,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "megabytes": used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024),  # bytes there, kibibytes elsewhere
        "folder_megabytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6,
        "measured": stamp(),
    }
    write_json(kept, result)
    return result


def rounds(kept: Path, turns: dict[str, Callable[[], float]], number: int) -> dict[str, list[float]]:
    """Figures of each, one a round; all in turn, round after round. What is in the file ``kept`` is not measured again."""
    found: dict[str, list[float]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for which in range(number):
        for name, turn in turns.items():
            values = found.setdefault(name, [])
            if len(values) <= which:
                values.append(turn())
                write_json(kept, found)
                print(f"round {which + 1}: {name} {values[-1]:.2f}", file=sys.stderr, flush=True)
    return found


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Ratio of two speeds that were measured in turns, and its 95 % interval: Student's t on the logarithms, round by round."""
    import numpy as np
    from scipy.stats import t as student

    logs = np.log(ours) - np.log(theirs)
    half = student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)) if len(logs) > 1 else float("inf")
    return tuple(float(np.exp(value)) for value in (logs.mean(), logs.mean() - half, logs.mean() + half))
