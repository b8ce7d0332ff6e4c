"""The texts that describe species to a text-to-image model, for families that use one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from syntype.collection.prompts import prompt, species_text
from syntype.generators.contract import TrainingData
from syntype.generators.pretrained.lora_settings import LoRAConfig

__all__ = ["SpeciesTexts"]

CAPTIONS_KEPT = 64
"""Different captions of a species, at most, that a generator remembers as contexts for other species."""


class SpeciesTexts:
    """Part of a family: what its settings remember of the names and captions of species. See ``DescribesSpecies``."""

    config: LoRAConfig

    def describe_species(self, data: TrainingData) -> None:
        """Take the names of the species in the texts from what the collection says of them."""
        genus, family = (data.taxa.get(rank, (None,) * len(data.species)) for rank in ("genus", "family"))
        texts = dict(self.config.texts)
        for label in np.unique(data.labels).tolist():
            name = data.species[label]
            texts[name] = species_text(name, data.common_names.get(name), genus[label], family[label])
        self.config = self.config.model_copy(update={"texts": texts})

    def keep_captions(self, data: TrainingData, without: Collection[str]) -> None:
        """Remember captions as contexts for other species, but not those of the species ``without``, as they would change the others' images."""
        captions = dict(self.config.captions)
        for label, caption in zip(data.labels, data.captions or (None,) * len(data.labels), strict=True):
            if data.species[label] in without:
                continue
            kept = captions.setdefault(data.species[label], []) if caption else []
            if caption and caption not in kept and len(kept) < CAPTIONS_KEPT:
                kept.append(caption)
        self.config = self.config.model_copy(update={"captions": captions})

    def description_of(self, species: str) -> dict[str, str]:
        """The names of a species in the texts."""
        return {"text": self.config.texts[species]}

    def restore_description(self, species: str, description: Mapping[str, str]) -> None:
        """Take over the names of a species in the texts; without them, the species' name alone is used."""
        self.config = self.config.model_copy(update={"texts": {**self.config.texts, species: description.get("text", species_text(species))}})

    def prompt_of(self, species: str, seed: int, *, context: bool = True) -> str:
        """The text with which ``sample`` draws an image.

        Args:
            context: complete it with a caption of a photograph of another species (of this one if only it has captions), drawn by the seed.
        """
        name = self.config.texts.get(species) or species_text(species)
        every = [(owner, caption) for owner, captions in self.config.captions.items() for caption in captions]
        if not context or not every:
            return prompt(name)
        has_others = any(owner != species for owner, _ in every)
        # drawn again until it is another species', so that one seed mostly gives two species the same context
        random = np.random.default_rng([seed, 0])
        while (pair := every[random.integers(len(every))])[0] == species and has_others:
            pass
        return prompt(name, pair[1])
