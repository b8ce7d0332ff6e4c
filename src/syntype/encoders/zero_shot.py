"""Species by their names alone: a model of images and texts compares photographs with texts such as "a photo of Amphiprion ocellaris".

Radford et al. 2021, "Learning transferable visual models from natural language supervision" (arXiv 2103.00020), section 3.1.4: the texts of a species
are made from several templates, and their embeddings are averaged. BioCLIP (Stevens et al. 2024, arXiv 2311.18803, section 3.2) was trained with
taxonomic names too, "Animalia Chordata Actinopterygii Perciformes Pomacentridae Amphiprion ocellaris": its texts hold what the collection knows of
them. SigLIP (Zhai et al. 2023, arXiv 2303.15343, equation 1) has a bias, and each species has a probability of its own.

Such a model may have seen the very photographs that it is tested on, with their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from syntype.collection.relatives import taxa_of
from syntype.collection.table import Collection
from syntype.encoders.encoder import Encoder, load_encoder
from syntype.encoders.open_clip_models import PREFIX, load_open_clip
from syntype.errors import UnsupportedError
from syntype.files import read_npz, write_npz

__all__ = ["ZeroShot", "is_zero_shot", "load_zero_shot", "prompts", "taxonomic_name"]

HIGHER_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
"""Columns of a collection that a taxonomic name is made of, from the highest rank."""
_TEMPLATES = ("a photo of {}.", "a photo of the species {}.", "a close-up photo of {}.", "a cropped photo of {}.")
_TEXTS_AT_A_TIME = 64


@dataclass(frozen=True)
class ZeroShot:
    """A model that names species by their texts.

    Attributes:
        encoder: Its image tower.
        species: The names, in the order of the columns of ``logits``.
        texts: Mean embedding of each species' texts, of length 1: float32, shape (num_species, dim).
        scale: Factor on the cosines.
        bias: Added to them; 0 unless the model was trained with a sigmoid.
        is_sigmoid: Whether each species has a probability of its own, so that they need not add up to 1.
    """

    encoder: Encoder
    species: tuple[str, ...]
    texts: np.ndarray
    scale: float
    bias: float
    is_sigmoid: bool

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Scale times cosine plus bias: float32, shape (N, num_species).

        Args:
            features: Features of images as ``encoder`` gives them, shape (N, dim).
        """
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        found: np.ndarray = (self.scale * unit @ self.texts.T + self.bias).astype(np.float32)
        return found

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Probability of each species: float32, shape (N, num_species). Rows add up to 1 unless ``is_sigmoid``."""
        logits = torch.from_numpy(self.logits(features))
        return (logits.sigmoid() if self.is_sigmoid else logits.softmax(dim=1)).numpy()


def is_zero_shot(name: str) -> bool:
    """Whether an encoder of this name has a tower for texts, so that it can name species that it was never shown."""
    return name.startswith(PREFIX)


def taxonomic_name(species: str, taxa: Mapping[str, str | None]) -> str:
    """The species with what is known above it, from the highest rank.

    Args:
        species: Its name.
        taxa: Name of its taxon for each of ``HIGHER_RANKS``, None or missing where unknown.

    Example:
        >>> taxonomic_name("Amphiprion ocellaris", {"order": "Perciformes", "family": "Pomacentridae", "genus": "Amphiprion"})
        'Perciformes Pomacentridae Amphiprion ocellaris'
    """
    above = [taxon for rank in HIGHER_RANKS if (taxon := taxa.get(rank)) and not (rank == "genus" and species.startswith(f"{taxon} "))]
    return " ".join([*above, species])


def prompts(species: str, taxa: Mapping[str, str | None], *, taxonomic: bool) -> tuple[str, ...]:
    """The texts of a species.

    Args:
        species: Its name, as in the collection.
        taxa: As for ``taxonomic_name``.
        taxonomic: Also give the taxonomic name, alone and in the same templates.

    Example:
        >>> prompts("Amphiprion ocellaris", {"family": "Pomacentridae"}, taxonomic=True)[::4]
        ('a photo of Amphiprion ocellaris.', 'a photo of Pomacentridae Amphiprion ocellaris.', 'Pomacentridae Amphiprion ocellaris')
    """
    texts = [template.format(species) for template in _TEMPLATES]
    if taxonomic:
        full = taxonomic_name(species, taxa)
        texts += [*(template.format(full) for template in _TEMPLATES), full]
    return tuple(texts)


def load_zero_shot(
    name: str, collection: Collection, species: Sequence[str] | None = None, progress: Callable[[int], None] | None = None
) -> ZeroShot:
    """Prepare an encoder to name a collection's species. Embeddings of texts are computed once and kept in ``.cache`` in the collection's folder.

    Args:
        name: ``open_clip:NAME[:FILE]``, see ``build_backbone``. If it holds ``bioclip``, taxonomic names are used too.
        collection: Its columns ``kingdom`` to ``genus``, if it has them, give the taxonomic names.
        species: The names. Default: the collection's species.
        progress: Called with a number of species after each batch of texts.

    Raises:
        UnsupportedError: The encoder has no tower for texts, or cannot be loaded; see ``build_backbone``.
        UnknownNameError: open_clip has no such model or weights.
    """
    if not is_zero_shot(name):
        raise UnsupportedError(f"encoder {name}: has no tower for texts, so it cannot name species by their names. Give one such as open_clip:NAME.")
    names = tuple(collection.species if species is None else species)
    encoder, taxonomic = load_encoder(name), "bioclip" in name.lower()
    taxa = taxa_of(collection.table, names, HIGHER_RANKS) if taxonomic else {}
    texts = [prompts(one, {rank: of_rank[place] for rank, of_rank in taxa.items()}, taxonomic=taxonomic) for place, one in enumerate(names)]
    file = _cache_file(encoder, collection.root, texts)
    found = read_npz(file, "texts", "scale", "bias", "is_sigmoid")
    if found is None or found["texts"].shape != (len(names), encoder.dim):
        found = _embedded(name, texts, progress)
        with suppress(OSError):  # a read-only collection: they are computed again next time
            write_npz(file, **found)
    return ZeroShot(encoder, names, found["texts"], float(found["scale"]), float(found["bias"]), bool(found["is_sigmoid"]))


def _cache_file(encoder: Encoder, folder: Path, texts: list[tuple[str, ...]]) -> Path:
    made_from = json.dumps([encoder.backbone.weights, encoder.backbone.architecture, texts], sort_keys=True)
    return folder / ".cache" / f"texts-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}.npz"


@torch.inference_mode()
def _embedded(name: str, texts: list[tuple[str, ...]], progress: Callable[[int], None] | None) -> dict[str, np.ndarray]:
    """The mean embedding of each species' texts, and the model's scale and bias."""
    loaded = load_open_clip(name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.model.to(device)
    rows = []
    each = max(1, _TEXTS_AT_A_TIME // len(texts[0])) if texts else 1
    for start in range(0, len(texts), each):
        part = texts[start : start + each]
        embedded = model.encode_text(loaded.tokenizer([text for one in part for text in one]).to(device), normalize=True)
        mean = embedded.reshape(len(part), -1, embedded.shape[1]).mean(dim=1)
        rows.append((mean / mean.norm(dim=1, keepdim=True)).float().cpu().numpy())
        if progress is not None:
            progress(len(part))
    bias = getattr(model, "logit_bias", None)
    return {
        "texts": np.concatenate(rows) if rows else np.empty((0, loaded.backbone.num_features), np.float32),
        "scale": np.array(model.logit_scale.exp().item(), np.float32),
        "bias": np.array(0 if bias is None else bias.item(), np.float32),
        "is_sigmoid": np.array(bias is not None),
    }
