"""A trained generator as the later stages see it: images by species and seed, between two of them, around photographs and within them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syntype.errors import CollectionError, InputError, RecipeError, UnsupportedError, require_known
from syntype.generators.contract import Adapts, BlendOf, Blends, GenerativeModel, Inpaints, Varies
from syntype.generators.networks.kernel_modulation import full_weights
from syntype.generators.registry import families_that

__all__ = ["NEW_ROW_PREFIX", "Generator"]

SMALL_BATCH = 8
"""Images drawn at a time where small_batches are asked for, or each takes long: photographs that families may have to search for, weights between
two species'."""

NEW_ROW_PREFIX = "new_row."
"""Before the name of a tensor in an adapter's file: the one index that the new species adds to it."""

_WeightMix = tuple[str | None, str | None, float]
"""Whose weights draw an image: two adapters (None: the base's own weights) and how far from the first to the second."""


class Generator:
    """A trained generator: a model and, for species added later, the weights that each of them changed.

    Everything that it draws comes as float32, shape (N, 3, height, width), in [-1, 1], on the CPU; an image is a function of its own
    arguments, whatever else is in the call. Controls are the fields of the family's ``Controls``; what is not given takes its default.

    Attributes:
        folder: where it lies.
        info: the content of ``generator.json``.
        trained_on: sha256 of every image that it or its adapters learnt from.
    """

    def __init__(self, folder: Path, model: GenerativeModel, info: dict[str, Any], trained_on: Iterable[str]) -> None:
        self.folder, self.model, self.info = folder, model, info
        self.trained_on = frozenset(trained_on)
        self._adapters: dict[str, dict[str, Tensor]] = {}

    @property
    def family(self) -> str:
        """Name of the family."""
        return str(self.info["family"])

    @property
    def species(self) -> tuple[str, ...]:
        """Species that it can draw; of a model that does not tell species apart, those that it was adapted to."""
        return self.model.species if self.model.is_conditional else tuple(self._adapters)

    @property
    def size(self) -> int:
        """Side of its images, in pixels; the height where they are not square."""
        return self.model.config.size

    @property
    def generator_id(self) -> str:
        """Family and the first digits of the weights' hash."""
        return str(self.info["generator_id"])

    @property
    def licences(self) -> list[str]:
        """Distinct licences of the training images."""
        return list(self.info.get("licences", []))

    def to(self, device: torch.device | str) -> Generator:
        """Move to a device."""
        self.model.to(device)
        return self

    def add_adapter(self, species: str, changed: dict[str, Tensor]) -> None:
        """Let the generator draw one more species, with weights that are used for this species alone."""
        if not isinstance(self.model, Adapts):
            raise CollectionError(f"{self.folder}: family {self.family} cannot be adapted.")
        self.model.add_species(species, None)
        own = self.model.generator.state_dict()
        for name in [name for name in changed if name.startswith(NEW_ROW_PREFIX)]:
            own[name.removeprefix(NEW_ROW_PREFIX)][-1:] = changed.pop(name)  # no other species reads this index
        self._adapters[species] = changed

    def sample(self, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw one image for each (species, seed) pair.

        Raises:
            UnknownNameError: a species that the generator does not know.
            RecipeError: a control that the family does not have.
        """
        model, settings = self.model, self.check_controls(controls)
        self._require(species)
        return self._generate(
            [self._weights(name) for name in species],
            lambda indices: model.sample([species[index] for index in indices], [seeds[index] for index in indices], **settings),
        )

    def blend(
        self, species: Sequence[tuple[str, str]], seeds: Sequence[tuple[int, int]], amounts: Sequence[float], of: BlendOf = "both", **controls: Any
    ) -> Tensor:
        """Draw what lies between two images, each a (species, seed).

        Species that were adapted to have weights of their own; between two species these are interpolated in a straight line too, one
        amount at a time (network interpolation: Wang et al. 2019, arXiv 1811.10515, eq. 2).

        Args:
            amounts: 0 is what ``sample`` draws of the first, 1 of the second; in [0, 1].
            of: ``latent`` keeps the first's species, ``species`` keeps the first's latent, ``both`` moves both.

        Raises:
            UnsupportedError: the family has no blends; the message lists those that have.
            UnknownNameError: a species that the generator does not know.
            RecipeError: a control that the family does not have.
            InputError: an amount outside [0, 1].
        """
        model, settings = self.model, self.check_controls(controls)
        if not isinstance(model, Blends):
            raise self._unsupported(Blends, "draw what lies between two images")
        self._require(chain.from_iterable(species))
        _require_unit_interval("amount", amounts)
        return self._generate(
            [self._weights(a, a if of == "latent" else b, amount) for (a, b), amount in zip(species, amounts, strict=True)],
            lambda indices: model.blend(
                [species[index] for index in indices], [seeds[index] for index in indices], [amounts[index] for index in indices], of, **settings
            ),
        )

    def vary(self, images_NCHW: Tensor, species: Sequence[str], seeds: Sequence[int], strength: float, **controls: Any) -> Tensor:
        """Draw one variation of each photograph.

        Args:
            images_NCHW: of the generator's size, in [-1, 1]; photographs of the species named.
            strength: 0 draws the photograph again as nearly as the family can, 1 owes it least; in [0, 1].

        Raises:
            UnsupportedError: the family cannot start from a photograph; the message lists those that can.
            UnknownNameError: a species that the generator does not know.
            RecipeError: a control that the family does not have.
            InputError: a strength outside [0, 1].
        """
        model, settings = self.model, self.check_controls(controls)
        if not isinstance(model, Varies):
            raise self._unsupported(Varies, "start from a photograph")
        self._require(species)
        _require_unit_interval("strength", [strength])
        return self._generate(
            [self._weights(name) for name in species],
            lambda indices: model.vary(
                images_NCHW[indices], [species[index] for index in indices], [seeds[index] for index in indices], strength, **settings
            ),
            small_batches=True,
        )

    def inpaint(self, images_NCHW: Tensor, masks_N1HW: Tensor, species: Sequence[str], seeds: Sequence[int], **controls: Any) -> Tensor:
        """Draw what is masked of each photograph, to go with the rest, which comes back unchanged.

        Args:
            images_NCHW: of the generator's size, in [-1, 1]; what lies under the mask is not looked at.
            masks_N1HW: bool, shape (N, 1, height, width), true where to draw.

        Raises:
            UnsupportedError: the family cannot fill in photographs; the message lists those that can.
            UnknownNameError: a species that the generator does not know.
            RecipeError: a control that the family does not have.
        """
        model, settings = self.model, self.check_controls(controls)
        if not isinstance(model, Inpaints):
            raise self._unsupported(Inpaints, "fill in a part of a photograph")
        self._require(species)
        return self._generate(
            [self._weights(name) for name in species],
            lambda indices: model.inpaint(
                images_NCHW[indices], masks_N1HW[indices], [species[index] for index in indices], [seeds[index] for index in indices], **settings
            ),
            small_batches=True,
        )

    def check_controls(self, given: dict[str, Any]) -> dict[str, Any]:
        """All of the family's controls: those given, checked, and the defaults of the others.

        Raises:
            RecipeError: one that the family does not have, or a value that it does not take.
        """
        kind = self.model.Controls
        unknown = [name for name in given if name not in kind.model_fields]
        if unknown:
            known = ", ".join(kind.model_fields) or "none"
            raise RecipeError(f"family {self.family} has no control {', '.join(map(repr, unknown))}. Its controls: {known}.")
        return kind.parse(given, f"controls of {self.family}").model_dump()

    def _require(self, species: Iterable[str]) -> None:
        require_known("species of this generator", species, self.model.species)

    def _unsupported(self, ability: type, what: str) -> UnsupportedError:
        return UnsupportedError(f"family {self.family} cannot {what}. Families that can: {', '.join(families_that(ability)) or 'none'}.")

    def _weights(self, first: str, second: str | None = None, amount: float = 0.0) -> _WeightMix:
        a = first if first in self._adapters else None
        b = second if second in self._adapters else None
        if amount == 0 or a == b:
            return a, a, 0.0
        return (b, b, 0.0) if amount == 1 else (a, b, float(amount))

    def _generate(self, weights: Sequence[_WeightMix], generate: Callable[[list[int]], Tensor], *, small_batches: bool = False) -> Tensor:
        """Images of all indices, those of the same weights together; with ``small_batches``, or between two species' weights, ``SMALL_BATCH`` at a time.

        The last part is filled up to the size of the others, so that an image does not depend on how many were asked for.
        """
        groups: dict[_WeightMix, list[int]] = {}
        for index, key in enumerate(weights):
            groups.setdefault(key, []).append(index)
        result = torch.empty(len(weights), 3, *self.model.config.shape)
        for key, indices in groups.items():
            replaced = self._replace_weights(self._changed_weights(key))
            size = min(self.model.sampling_batch_size, SMALL_BATCH) if small_batches or key[0] != key[1] else self.model.sampling_batch_size
            try:
                for start in range(0, len(indices), size):
                    part = indices[start : start + size]
                    images = generate(part + [part[-1]] * (size - len(part)) if self.model.learns else part)
                    result[part] = images[: len(part)].float().cpu()
            finally:
                self._replace_weights(replaced)
        return result

    def _changed_weights(self, weights: _WeightMix) -> dict[str, Tensor]:
        """The tensors that differ from the base's own. Kernels are made of their factors only now, so that thousands of adapters fit into memory."""
        own = self.model.generator.state_dict()
        first, second, amount = weights
        start = {} if first is None else full_weights(self._adapters[first], own)
        if first == second:
            return start
        end = {} if second is None else full_weights(self._adapters[second], own)
        return {name: _interpolate(start.get(name, own[name]), end.get(name, own[name]), amount) for name in start | end}

    def _replace_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put tensors in the place of those that have their names; returns what was there."""
        own = self.model.generator.state_dict()
        replaced = {name: own[name].clone() for name in tensors}
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
        return replaced


def _interpolate(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """A straight line between two tensors; of whole numbers, the nearer end."""
    if not first.is_floating_point():
        return first if amount < 0.5 else second
    return torch.lerp(first, second.to(first.device), amount)


def _require_unit_interval(what: str, values: Iterable[float]) -> None:
    for value in values:
        if not 0 <= value <= 1:
            raise InputError(f"the {what} {value:g} lies outside 0 to 1", "Give one between: 0 is the beginning, 1 the other end.")
