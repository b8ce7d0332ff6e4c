"""What stands behind a study's figures, and what they cannot say."""

from __future__ import annotations

import json
import platform
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

from syntype.collection import Collection
from syntype.study.config import StudyConfig

if TYPE_CHECKING:
    from syntype.study.materials import Materials

__all__ = ["limits", "provenance"]


def limits(results: dict[str, Any], config: StudyConfig, *, is_external: bool, num_trainings: int) -> list[str]:
    """What the study cannot say, a sentence each, for a biologist."""
    untested = sum(1 for entry in results["species"] if entry["offered"] and not entry["num_test"])
    sentences = [
        "Whether the same holds at other places, seasons or cameras: the test photographs come from the same sources as the training photographs.",
        f"Whether another classifier would gain as much: this one is '{config.classifier.backbone}', "
        f"{'its last layer trained' if config.classifier.tune == 'head' else 'all of it trained'}, on images of {config.size} pixels.",
        "Anything certain about one species or one bin: only the plot's first row was meant to decide, and several rows give chance several tries.",
    ]
    if untested:
        sentences.append(f"Anything about {untested} of the species that synthetic images were made for: they have no test photograph.")
    if results["competitor"]["chosen_on"] == "test":
        sentences.append("How good the competitor is on new photographs: it was chosen on the test photographs, so its recall is somewhat flattered.")
    if is_external:
        sentences.append(
            "Whether whoever made these synthetic images had seen the test photographs: Syntype has looked for copies of them, but cannot know more. "
            "If so, the verdict is worth nothing."
        )
    if num_trainings == 1:
        sentences.append("How another training of the generator would fare: it was trained once, and its luck is not part of the intervals.")
    else:
        sentences.append(f"Much about the generator's own luck: it was trained {num_trainings} times.")
    sentences.append("Whether a synthetic image is right in the details that tell the species apart: that takes an expert's eye.")
    return sentences


def provenance(collection: Collection, materials: Materials, config: StudyConfig) -> dict[str, str]:
    """Terms and values of the report's last table."""
    splits = collection.table["split"].value_counts()
    return {
        "photographs": f"{collection.name} ({collection.root}), fingerprint {collection.fingerprint}",
        "number of photographs": ", ".join(f"{int(splits.get(name, 0))} {name}" for name in ("train", "val", "test")),
        "synthetic images": materials.source_words,
        "classifier seeds": f"{materials.seed(0)} to {materials.seed(config.seeds - 1)}",
        "settings": json.dumps(config.model_dump(mode="json"), ensure_ascii=False),
        "software": ", ".join(f"{name} {metadata.version(name)}" for name in ("syntype", "torch", "timm", "numpy"))
        + f", Python {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "date": time.strftime("%Y-%m-%d"),
    }
