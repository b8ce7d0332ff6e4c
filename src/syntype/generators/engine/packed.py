"""Adapters of many species in few files.

A shard is a safetensors file with the tensors of up to a few hundred species, each named ``SPECIES/TENSOR``. ``generator.json`` says in which
shard a species is, and has the sha256 that its tensors would have in a file of their own. A species is read when it is first asked for.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from syntype.errors import CollectionError, shortened
from syntype.files import atomic_write, inside

__all__ = ["Shards", "digest_of", "fitting", "write_shard"]

AGAIN = "Copy the generator's folder again from where it came, or train it again."

_OPEN_SHARDS = 8
"""Shards that are open at the same time."""
_KEPT_SPECIES = 16
"""Species whose tensors are kept in memory: those of a batch, mostly."""


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Turn the errors of weights that do not fit the model into one sentence."""
    try:
        yield
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CollectionError(f"{path}: does not fit the settings and species in generator.json ({reason}). {AGAIN}") from None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of a safetensors file with these tensors alone."""
    return hashlib.sha256(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})).hexdigest()


def write_shard(path: Path, adapters: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write the adapters of several species: name of the species -> tensors by name."""
    tensors = {f"{species}/{name}": tensor.contiguous() for species, own in adapters.items() for name, tensor in own.items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)


class Shards:
    """The adapters of a generator that are in shards.

    Args:
        folder: Of the generator.
        entries: Those of ``generator.json`` for the species.
    """

    def __init__(self, folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
        self._folder, self._entries = folder, {str(entry["species"]): entry for entry in entries}
        self._open: OrderedDict[str, tuple[Any, dict[str, list[str]]]] = OrderedDict()
        self._kept: OrderedDict[str, dict[str, Tensor]] = OrderedDict()

    def __contains__(self, species: object) -> bool:
        return species in self._entries

    @property
    def species(self) -> tuple[str, ...]:
        """The species, in the order of ``generator.json``."""
        return tuple(self._entries)

    def description(self, species: str) -> Mapping[str, str] | None:
        """What else the family remembers of a species."""
        return self._entries[species].get("description")

    def file(self, species: str) -> Path:
        """The shard in which a species is."""
        return inside(self._folder, self._entries[species]["file"])

    def read(self, species: str) -> dict[str, Tensor]:
        """The tensors of a species, as an adapter file holds them.

        Raises:
            CollectionError: The shard is missing or damaged, or the tensors have changed since they were written.
        """
        if species not in self._kept:
            self._kept[species] = self._read(species)
            if len(self._kept) > _KEPT_SPECIES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(species)
        return dict(self._kept[species])

    def _read(self, species: str) -> dict[str, Tensor]:
        path = self.file(species)
        try:
            shard, names = self._shard(path)
            tensors = {name: shard.get_tensor(f"{species}/{name}") for name in names.get(species, [])}
        except (OSError, SafetensorError) as error:
            told = shortened(error, 200)
            raise CollectionError(f"{path}: is missing, or not a valid safetensors file ({told}). Adapt again, or copy it again.") from None
        if digest_of(tensors) != self._entries[species]["sha256"]:
            raise CollectionError(f"{path}: the weights of {species} have changed since they were written. Copy the file again, or adapt again.")
        return tensors

    def _shard(self, path: Path) -> tuple[Any, dict[str, list[str]]]:
        if path.name not in self._open:
            shard, names = safe_open(path, framework="pt"), dict[str, list[str]]()
            for key in shard.keys():  # noqa: SIM118 - not a mapping
                species, _, name = key.rpartition("/")
                names.setdefault(species, []).append(name)
            self._open[path.name] = shard, names
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(path.name)
        return self._open[path.name]
