"""Do seeded runs still give exactly what they gave? Fingerprints of weights, images and study figures, to compare two versions of the code.

    python benchmarks/seeded.py record before.json      # with the old code
    python benchmarks/seeded.py compare before.json     # with the new code, on the same machine: exits with 1 and names what differs

Every family trains for a few steps at its tiny settings, draws, blends, varies and fills in; every way to adapt adapts; classifiers and two small
studies are run. A fingerprint is the sha256 of the numbers themselves. Another processor or version of PyTorch rounds differently: both runs
belong on one machine and one environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from syntype.adaptation import AdaptConfig, adapt
from syntype.adaptation.methods import METHODS
from syntype.collection import Collection
from syntype.collection.reef import ReefConfig, draw_reef
from syntype.curation import CurateConfig, curate
from syntype.generators import TrainConfig, family, list_families, load_generator, train
from syntype.generators.contract import ABILITIES
from syntype.identification import ClassifierConfig, train_classifier
from syntype.run import Run
from syntype.study import StudyConfig, study
from syntype.study.config import TuningConfig
from syntype.synthesis import GenerateConfig, generate

NEW_NAMES = {"lent": "pose_transfer"}
"""Families that were renamed: recorded under the old name, compared under the new one."""
SIZE = 32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = fingerprints(Path(folder))
    if arguments.what == "record":
        arguments.file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{len(found)} fingerprints written to {arguments.file}")
        return 0
    known = {renamed(name): value for name, value in json.loads(arguments.file.read_text(encoding="utf-8")).items()}
    differing = [name for name in sorted(known.keys() | found.keys()) if known.get(name) != found.get(name)]
    for name in differing:
        print(f"differs: {name}\n  before {known.get(name)}\n  now    {found.get(name)}")
    print(f"{len(known) - len(differing)} of {len(known)} fingerprints are the same")
    return bool(differing)


def renamed(name: str) -> str:
    first, _, rest = name.partition("/")
    return f"{NEW_NAMES.get(first, first)}/{rest}"


def fingerprints(folder: Path) -> dict[str, Any]:
    """By name, the fingerprint of everything that is seeded."""
    reef_config = ReefConfig(num_species=5, size=SIZE, max_images=14, min_images=6, tail=1.0, num_val=3, num_test=4)
    reef = draw_reef(reef_config, folder / "reef", Run.silent()).collection
    found: dict[str, Any] = {"reef/images": sha(reef.pixels(SIZE)), "reef/splits": sha(reef.table["split"].tolist())}
    for name in list_families():
        found |= {f"{name}/{what}": value for what, value in of_family(name, reef, folder / name).items()}
        print(name, file=sys.stderr)
    found |= of_adaptation(reef, folder)
    found |= of_classifiers(reef, folder)
    found |= of_studies(reef, folder)
    return found


def of_family(name: str, reef: Collection, out: Path) -> dict[str, str]:
    model = family(name).Config.tiny(SIZE).model_dump(exclude={"size"})
    settings = {"size": SIZE, "batch_size": 4, "steps": 6, "device": "cpu", "precision": "fp32", "except": reef.species[-1:], "model": model}
    config = TrainConfig.parse({"family": name, **settings})
    with Run.start(out, "train", config, seed=0, quiet=True) as run:  # states for resuming are kept in a run's folder alone
        train(reef, config, out, run)
    generator = load_generator(out)
    known = list(reef.species[:2])
    found = {"weights": sha(generator.model.generator.state_dict().values())}
    found["samples"] = sha(generator.model.sample(known * 3, [0, 1, 2, 3, 4, 5], **generator.check_controls({})))
    photographs = torch.from_numpy(reef.pixels(SIZE)[:2].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    masks = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    masks[:, :, 8:20, 8:20] = True
    calls = {
        "blend": lambda: generator.blend([(known[0], known[1])] * 2, [(0, 1), (2, 3)], [0.3, 0.7]),
        "vary": lambda: generator.vary(photographs, known, [0, 1], 0.5),
        "inpaint": lambda: generator.inpaint(photographs, masks, known, [0, 1]),
    }
    for ability, call in calls.items():
        if isinstance(generator.model, ABILITIES[ability]) and generator.model.is_conditional:
            found[ability] = sha(call())
    return found


def of_adaptation(reef: Collection, folder: Path) -> dict[str, str]:
    found = {}
    for method in METHODS:
        out = folder / f"adapted-{method}"
        config = AdaptConfig.parse({"species": reef.species[-1], "method": method, "steps": 3, "batch_size": 4, "device": "cpu", "precision": "fp32"})
        adapt(load_generator(folder / "projected"), reef, config, out, Run.silent())
        found[f"adapt-{method}/samples"] = sha(load_generator(out).sample([reef.species[-1], reef.species[0]], [0, 0]))
    return found


def of_classifiers(reef: Collection, folder: Path) -> dict[str, str]:
    found = {}
    for backbone, tune in (("lite2", "head"), ("lite2", "all"), ("scratch", "all")):
        settings = {
            "backbone": backbone,
            "tune": tune,
            "steps": 4,
            "batch_size": 8,
            "size": SIZE,
            "encoder_size": SIZE,
            "device": "cpu",
            "precision": "fp32",
        }
        out = folder / f"classifier-{backbone}-{tune}"
        train_classifier(reef, ClassifierConfig.parse(settings), out, Run.silent())
        from safetensors.torch import load_file

        weights = [tensors for path in sorted(out.rglob("*.safetensors")) for tensors in load_file(path).values()]
        found[f"classifier-{backbone}-{tune}/weights"] = sha(weights)
    return found


def of_studies(reef: Collection, folder: Path) -> dict[str, Any]:
    """Two studies: of collages at two ratios, and of images that were made and curated before."""
    classifier = ClassifierConfig(steps=20, batch_size=8, encoder_size=SIZE, device="cpu", precision="fp32")
    common = {"seeds": 2, "size": SIZE, "quick": True, "classifier": classifier, "device": "cpu", "fill_to": 12, "head_above": 8}
    generate(load_generator(folder / "projected"), GenerateConfig(num=8), folder / "synthetic", Run.silent())
    curate(Collection.open(folder / "synthetic"), reef, CurateConfig(size=SIZE), folder / "curated", Run.silent())
    curated = Collection.open(folder / "curated").table
    found: dict[str, Any] = {"curate/verdicts": sha(curated[["verdict", "reason", "margin", "typicality"]].to_csv())}
    asked = {
        "study-collage": StudyConfig(
            generator="collage", tuning=TuningConfig(photographs=({}, {"learning_rate": 3e-4}), synthetic=({"ratio": 0.5}, {"ratio": 1.0})), **common
        ),
        "study-external": StudyConfig(synthetic=str(folder / "curated"), **common),
    }
    for name, config in asked.items():
        results = study(reef, config, folder / name, Run.silent()).results
        for key in ("effects", "arms", "species", "competitor", "tuning", "curation"):
            found[f"{name}/{key}"] = sha(json.dumps(without_times(results[key]), sort_keys=True))
        found[f"{name}/verdict"] = results["verdict"]["word"]
        found[f"{name}/effect"] = (results["effects"]["primary"] or {}).get("value")
    return found


def without_times(value: Any) -> Any:
    """Without minutes and without sentences, which may be worded anew."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in ("minutes", "words", "description")}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def sha(values: Any) -> str:
    """sha256 of arrays, tensors or anything that prints exactly."""
    digest = hashlib.sha256()
    for value in [values] if isinstance(values, (torch.Tensor, np.ndarray, str)) or not isinstance(values, Iterable) else values:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous().numpy()
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()[:20]


if __name__ == "__main__":
    raise SystemExit(main())
