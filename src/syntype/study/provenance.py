"""Texts of the report on where the figures come from and on the limits of the study."""

from __future__ import annotations

import json
import platform
import time
from importlib import metadata
from typing import Any

from syntype.collection import Collection
from syntype.study.config import StudyConfig

__all__ = ["limits", "provenance"]


def limits(results: dict[str, Any], config: StudyConfig, *, is_given: bool, num_trainings: int, left_out: str = "") -> list[str]:
    """The limits of the study, one sentence each: questions that it cannot answer, in words for a biologist.

    Args:
        left_out: given images that were not used, by species, in words; empty if there are none.
    """
    untested = sum(1 for entry in results["species"] if entry["offered"] and not entry["num_test"])
    trained = {
        "head": "only its last layer trained",
        "last": "its last layers trained",
        "all": "all its layers trained",
        "lora": "adapters trained in all its layers",
    }[config.classifier.tune]
    sentences = [
        "Whether the result holds in other places, in other seasons or with other cameras: the test photographs come from the same sources as the "
        "training photographs.",
        f"Whether another classifier would gain as much: this one is '{config.classifier.backbone}', {trained}, on images of {config.size} pixels.",
        "Whether a single species or bin gains or loses: the verdict rests on two rows of the plot, the species with synthetic images and the "
        "other species. Among many rows some differ from zero by chance.",
    ]
    if untested:
        sentences.append(f"Anything about {untested} of the species with synthetic images: they have no test photograph.")
    if results["competitor"]["chosen_on"] == "test":
        sentences.append(
            "The competitor's recall on new photographs: it was chosen on the test photographs, so the recall given here is probably too high."
        )
    if is_given:
        sentences.append(
            "Whether the generator of these synthetic images was trained on the test photographs: Syntype found no copies of them, but cannot check "
            "more. If it was, the verdict is not valid."
        )
    if left_out:
        sentences.append(f"Anything about synthetic images that were not used, because the photographs do not have their species: {left_out}.")
    if num_trainings == 1:
        sentences.append("How the result varies between trainings of the generator: it was trained once, and the intervals leave this variation out.")
    else:
        sentences.append(f"How much the result varies between trainings of the generator: {num_trainings} trainings give only a rough idea.")
    if config.draws == 1:
        sentences.append(
            "How the result depends on which few photographs were taken, where it concerns all species together: every repetition used the same. "
            "What differs from species to species is part of an interval over species."
        )
    else:
        sentences.append(
            "How much all photographs together would gain: each repetition used a draw of them, with fewer different ones of each rare species, and "
            "species with one individual, track or specimen always the same."
        )
    if config.zero_shot is not None:
        sentences.append(f"How well {config.zero_shot} names photographs that it has never seen: it may have been trained on the test photographs.")
    sentences.append("Whether the synthetic images are right in the details that distinguish the species: only an expert can check that.")
    return sentences


def provenance(collection: Collection, origin: str, config: StudyConfig) -> dict[str, str]:
    """Entries of the report's last table: names and values.

    Args:
        origin: where the synthetic images come from.
    """
    splits = collection.table["split"].value_counts()
    return {
        "photographs": f"{collection.name} ({collection.root}), fingerprint {collection.fingerprint}",
        "number of photographs": ", ".join(f"{int(splits.get(name, 0))} {name}" for name in ("train", "val", "test")),
        "synthetic images": origin,
        "classifier seeds": f"{config.seed_of(0)} to {config.seed_of(config.seeds - 1)}",
        "settings": json.dumps(config.model_dump(mode="json"), ensure_ascii=False),
        "software": ", ".join(f"{name} {metadata.version(name)}" for name in ("syntype", "torch", "timm", "numpy"))
        + f", Python {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "date": time.strftime("%Y-%m-%d"),
    }
