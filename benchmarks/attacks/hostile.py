"""Hostile images, tables and zips through the importer and the Studio's uploads: no crash, each bad one named, each good one kept."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from attacks.hostile_files import HostileFile, hostile_image, hostile_table, hostile_zip
from attacks.stages import World, in_child

__all__ = ["attack_hostile"]

CHUNK = 500
"""So many images are imported at once."""
SPECIES = ("Aus bus", "Cus dus", "Eus fus")


def attack_hostile(world: World, images: int, others: int) -> dict[str, dict[str, Any]]:
    """``images`` hostile images; as many hostile tables and zips as ``others``, half of each."""
    return {
        "images": _chunks(world, images, CHUNK, _images),
        "tables": _chunks(world, others // 2, 50, _tables),
        "zips": _chunks(world, others - others // 2, 50, _zips),
    }


def _chunks(world: World, number: int, size: int, attack: Callable[[World, Path, int, int], list[str]]) -> dict[str, Any]:
    """An attack with so many files, in processes of their own, whose peak memory above what they began with is measured."""
    faults: dict[str, list[int]] = {}
    peak = lost = 0
    for begin in range(0, number, size):
        trial = world.trial("hostile")
        (trial / "outside").mkdir()
        (trial / "outside" / "mine.png").write_bytes(b"here before")

        def measured(begin: int = begin, trial: Path = trial) -> dict[str, Any]:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
            told = attack(world, trial, begin, min(begin + size, number))
            return {"told": told, "peak": _peak()}

        try:
            answer = in_child(measured)
        except RuntimeError as error:
            answer = {"told": [f"ended: {str(error).strip().splitlines()[-1]}"], "peak": 0}
        told = answer["told"]
        if {path.name for path in trial.iterdir()} - {"outside", "source", "out", "uploads"} or _files(trial / "outside") != {
            "mine.png": _hash(b"here before")
        }:
            told.append("something was written outside")
        peak, lost = max(peak, answer["peak"]), lost + len(told)
        for one in told:
            faults.setdefault(one, []).append(begin)
        print(f"hostile: {attack.__name__[1:]} {begin}.. of {number}, {answer['peak']} MB{': ' + '; '.join(told)[:500] if told else ''}", flush=True)
    if peak > 1000:
        faults["more than 1 GB of memory"] = [peak]
    return {"attacks": number, "lost": lost, "faults": faults, "megabytes": peak}


def _peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _hash(path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


def _photographs(world: World) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted((world.world / "photographs").rglob("*.*"))[:20]]


def _imported(source: Path, out: Path) -> tuple[Any, str | None]:
    """The collection that the importer makes, or None and its one sentence; any other error is the attack's success."""
    from syntype.collection.importers import CollectConfig, collect
    from syntype.errors import SyntypeError
    from syntype.run import Run

    try:
        return collect(source, CollectConfig(), out, Run.silent()).collection, None
    except SyntypeError as error:
        return None, str(error)


def _images(world: World, trial: Path, begin: int, end: int) -> list[str]:
    photographs, cases, told = _photographs(world), {}, []
    for index in range(begin, end):
        case = hostile_image(photographs[index % len(photographs)], np.random.default_rng([21, index]))
        path = trial / "source" / SPECIES[index % 3].replace(" ", "_") / f"{index:05d}.{case.ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.data)
        cases[path] = case
    before = _files(trial / "source")
    try:
        collection, problem = _imported(trial / "source", trial / "out")
    except Exception as error:
        return [f"{type(error).__name__}: {error} ({traceback.extract_tb(error.__traceback__)[-1].name})"[:200]]
    if collection is None:
        return [f"nothing was imported: {problem}"]
    with (trial / "out" / "refused.csv").open(encoding="utf-8", newline="") as file:
        refused = [row["file"] for row in csv.DictReader(file) if row["reason"] and row["hint"]]
    kept = {Path(name).stem: row for row, name in enumerate(collection.table["file_name"])}
    for path, case in cases.items():
        told += _fate(path, case, collection, kept.get(path.stem), refused.count(str(path)))
    if _files(trial / "source") != before:
        told.append("the source was changed")
    return told


def _fate(path: Path, case: HostileFile, collection: Any, row: int | None, refused: int) -> list[str]:
    if (row is None) == (refused == 0) or refused > 1:
        return [f"{case.kind}: is neither kept nor refused once"]
    if row is None:
        return [f"{case.kind}: a good one was refused"] if case.fate == "kept" else []
    if case.fate == "refused":
        return [f"{case.kind}: was kept"]
    right = collection.table["species"][row] == path.parent.name.replace("_", " ") and collection.path(row).read_bytes() == case.data
    return [] if right else [f"{case.kind}: another species or other bytes"]


def _tables(world: World, trial: Path, begin: int, end: int) -> list[str]:
    told = []
    source = trial / "source"
    source.mkdir()
    names = []
    for index, image in enumerate(_photographs(world)[:6]):
        image.save(source / f"{index}.png")
        names.append((f"{index}.png", SPECIES[index % 3]))
    photographs = _files(source)
    for index in range(begin, end):
        case = hostile_table(names, np.random.default_rng([22, index]))
        table, out = source / f"table.{case.ending}", trial / "out"
        table.write_bytes(case.data)
        try:
            collection, problem = _imported(table, out)
        except Exception as error:
            told.append(f"{case.kind}: {type(error).__name__}: {str(error)[:80]} ({traceback.extract_tb(error.__traceback__)[-1].name})")
        else:
            if collection is not None:
                pairs = {(_hash(collection.path(row).read_bytes()), species) for row, species in enumerate(collection.table["species"])}
            if collection is None and (case.fate == "kept" or not problem or "\n" in problem):
                told.append(f"{case.kind}: all was refused, with {str(problem)[:150]!r}")
            elif collection is not None and case.fate == "refused":
                told.append(f"{case.kind}: was imported")
            elif collection is not None and case.fate == "kept" and not {(photographs[name], species) for name, species in names} <= pairs:
                told.append(f"{case.kind}: good rows are missing or have another species")
        table.unlink()
        shutil.rmtree(out, ignore_errors=True)
        if _files(source) != photographs:
            told.append(f"{case.kind}: the source was changed")
    return told


def _zips(world: World, trial: Path, begin: int, end: int) -> list[str]:
    import anyio

    return anyio.run(_received, world, trial, begin, end)


async def _received(world: World, trial: Path, begin: int, end: int) -> list[str]:
    """Zips that the Studio receives, one after another."""
    from syntype.apps.web.limits import StudioConfig
    from syntype.apps.web.stock import is_image
    from syntype.apps.web.store import Store
    from syntype.apps.web.uploads import Uploads
    from syntype.apps.web.workspace import Workspace
    from syntype.errors import SyntypeError

    told = []
    photographs = []
    for image in _photographs(world)[:4]:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        photographs.append(buffer.getvalue())
    uploads = Uploads(Workspace(trial / "uploads"), StudioConfig().limits, Store(f"sqlite:///{trial / 'uploads' / 'studio.sqlite'}"))
    for index in range(begin, end):
        case = hostile_zip(photographs, np.random.default_rng([23, index]))
        upload = uploads.begin()
        try:
            async with uploads.receiving(upload) as folder:
                (folder / "part").write_bytes(case.data)
                result = uploads.take(upload, folder / "part", "photographs.zip", None)
            taken, unnamed = result.num_taken, [one for one in result.refused if not (one.file and one.reason and one.hint)]
            if unnamed:
                told.append(f"{case.kind}: a refused file is not named")
        except SyntypeError as error:
            taken = 0
            if "\n" in str(error):
                told.append(f"{case.kind}: more than one line")
            if case.fate == "kept":
                told.append(f"{case.kind}: all was refused, with {str(error)[:150]!r}")
        except Exception as error:
            told.append(f"{case.kind}: {type(error).__name__}: {str(error)[:80]} ({traceback.extract_tb(error.__traceback__)[-1].name})")
            taken = -1
        here = {name: data for name, data in _files(uploads.folder(upload)).items() if is_image(Path(name))}  # tables and notes stay beside them
        if case.fate == "kept" and not {_hash(data) for data in photographs} <= set(here.values()):
            told.append(f"{case.kind}: good photographs are missing")
        if taken >= 0 and taken != len(here):
            told.append(f"{case.kind}: {taken} taken, {len(here)} there")
        uploads.drop(upload)
    return told
