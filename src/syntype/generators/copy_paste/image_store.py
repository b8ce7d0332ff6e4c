"""Training photographs stored inside a generator, for the families without training: ``copies``, ``collage``, ``pose_transfer``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syntype.collection.relatives import RANKS
from syntype.errors import CollectionError, UnsupportedError
from syntype.generators.contract import TrainingData
from syntype.generators.copy_paste.segmentation import Outlines

__all__ = ["ImageStore"]


class ImageStore(nn.Module):
    """Training photographs as buffers, sorted by species, so that a checkpoint contains them.

    A store is built empty. Its buffers take their sizes from ``fill`` or ``load_state_dict``.

    Attributes:
        names: uint8, JSON list of the photographs' image_ids as UTF-8 bytes.
        pixels: uint8, shape (N, 3, size, size), RGB.
        masks: uint8, shape (N, 1, size, size), 255 where the animal is; (0, 1, size, size) for a family without masks.
        cleared: uint8, the shape of ``masks``, 255 where an empty place has to be filled: the animal, its surroundings, and what may be part of it.
        places: bool, shape (N,); whether the photograph, emptied, is a good place for other animals.
        groups: int64, shape (N,); photographs of the same individual have the same number.
        offsets: int64, shape (num_species + 1,); photographs of species s are ``offsets[s]:offsets[s + 1]``.
        taxa: int64, shape (num_species, len(RANKS)): numbers of each species' genus, family and order, -1 where unknown; None if none is known.
    """

    names: Tensor
    pixels: Tensor
    masks: Tensor
    cleared: Tensor
    places: Tensor
    groups: Tensor
    offsets: Tensor
    taxa: Tensor | None

    def __init__(self, num_species: int, size: int) -> None:
        super().__init__()
        self.register_buffer("names", torch.tensor(list(b"[]"), dtype=torch.uint8))
        self.register_buffer("pixels", torch.empty((0, 3, size, size), dtype=torch.uint8))
        self.register_buffer("masks", torch.empty((0, 1, size, size), dtype=torch.uint8))
        self.register_buffer("cleared", torch.empty((0, 1, size, size), dtype=torch.uint8))
        self.register_buffer("places", torch.empty(0, dtype=torch.bool))
        self.register_buffer("groups", torch.empty(0, dtype=torch.int64))
        self.register_buffer("offsets", torch.zeros(num_species + 1, dtype=torch.int64))
        self.register_buffer("taxa", None)  # not saved where it is None

    def fill(self, data: TrainingData, outlines: Outlines | None = None) -> None:
        """Store the training photographs.

        Args:
            outlines: of the animals, in the order of ``data``.

        Raises:
            CollectionError: there is no photograph.
        """
        if not len(data.images):
            raise CollectionError(
                "this family uses training photographs, and the collection has none for the chosen species. Choose species that have some."
            )
        order = torch.from_numpy(np.argsort(data.labels, kind="stable"))
        device = self.pixels.device
        self.pixels = torch.from_numpy(np.ascontiguousarray(data.images)).permute(0, 3, 1, 2)[order].contiguous().to(device)
        if outlines is not None:
            self.masks, self.cleared = (part[order][:, None].contiguous().to(device) for part in outlines)
        self.places = torch.ones(len(order), dtype=torch.bool, device=device)
        ids = data.image_ids or tuple(f"photograph {number}" for number in range(len(data.images)))
        self.names = torch.tensor(list(json.dumps([ids[number] for number in order.tolist()]).encode()), dtype=torch.uint8).to(device)
        self.groups = torch.from_numpy(np.asarray(data.groups, np.int64))[order].to(device)
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(data.counts)])).to(torch.int64).to(device)

    @cached_property
    def image_ids(self) -> list[str]:
        """image_id of each photograph."""
        return [str(name) for name in json.loads(bytes(self.names.tolist()))]

    def photograph(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a photograph pixels (float32, shape (size, size, 3)) and mask (float32, shape (size, size)), both in [0, 1], and cleared area (bool)."""
        pixels, mask, cleared = (part[row].cpu().numpy() for part in (self.pixels, self.masks, self.cleared))
        return pixels.transpose(1, 2, 0).astype(np.float32) / 255, mask[0].astype(np.float32) / 255, cleared[0] > 127

    def choose(self, labels: Tensor, seeds: Sequence[int], species: Sequence[str], *, by_group: bool = False) -> list[int]:
        """For each (label, seed) the index of a photograph of that species.

        Args:
            by_group: consecutive seeds cycle through the species' individuals, and each cycle takes the next photograph of each individual; otherwise
                seeds cycle through all photographs.

        Raises:
            UnsupportedError: a species without a training photograph.
        """
        offsets, groups = self.offsets.tolist(), self.groups.tolist()
        walks: dict[int, list[list[int]]] = {}
        for label in set(labels.tolist()):
            rows = range(offsets[label], offsets[label + 1])
            if not rows:
                raise UnsupportedError(
                    f"this generator uses training photographs, and has none of {species[label]!r}. "
                    "Train it on a collection that has some in the split 'train', or ask for another species."
                )
            together: dict[int, list[int]] = {}
            for row in rows:
                together.setdefault(groups[row] if by_group else row, []).append(row)
            walks[label] = list(together.values())
        turns = [(walks[label], int(seed)) for label, seed in zip(labels.tolist(), seeds, strict=True)]
        return [walk[seed % len(walk)][seed // len(walk) % len(walk[seed % len(walk)])] for walk, seed in turns]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # The number of images is known only here: allocate the buffers first, then let torch copy and check as usual.
        for name, buffer in list(self.named_buffers(recurse=False)):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and saved.shape[1:] == buffer.shape[1:] and (name != "offsets" or saved.shape == buffer.shape):
                setattr(self, name, torch.empty_like(saved, device=buffer.device))
        taxa = state_dict.get(f"{prefix}taxa")
        if isinstance(taxa, Tensor) and taxa.shape == (len(self.offsets) - 1, len(RANKS)) and taxa.dtype == torch.int64:
            self.taxa = torch.empty_like(taxa, device=self.pixels.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[arg-type]
