"""A species as a row that is computed from its photographs, and what the row adds to the text: so a species can be drawn without training.

After Khurana et al. 2026, "TaxaAdapter" (arXiv 2603.26128), which tells a text-to-image model of a species by features of BioCLIP. Here the row is
the mean of frozen features of the species' photographs, and a small network makes of it what is added to the last tokens of the text. It begins with
zero, so that nothing changes before training. In training the row is the mean of a few other photographs of the species, chosen at random: the
network learns from rows like those of a species of which few photographs are there, and not from that of the photograph which is to be drawn.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from syntype.encoders import BUNDLED, Encoder, build_backbone, load_encoder

__all__ = ["NAME", "OtherPhotographs", "SpeciesTokens", "open_encoder"]

NAME = "species_lora"
"""Beginning of the names of these tensors in a generator's file. Programs that read the file as a LoRA pass over them, but refuse names without
"lora"."""
HIDDEN = 256
"""Width of the network between the row and the tokens."""
MOST_DRAWN = 16
"""Other photographs, at most, whose mean is a species' row in a training step."""


def open_encoder(name: str) -> Encoder:
    """The encoder of this name. Unlike ``load_encoder``, a large one is not kept for the rest of the process."""
    return load_encoder(name) if name in BUNDLED else Encoder(build_backbone(name))


class SpeciesTokens(nn.Module):
    """Rows of species, and the network that makes of a row what is added to the last tokens of a text.

    Args:
        num_species: number of species.
        num_features: of a photograph.
        num_tokens: number of tokens that are changed.
        text_features: numbers in a token.

    Attributes:
        rows: one for each species, shape (num_species, num_features): mean features of its photographs, standardised. Zero: the mean of all.
        middle, spread: mean of the features of all photographs, shape (num_features,), and their root mean square around it, shape (). A spread of
            zero: they are not known yet.
        size: typical absolute value of the numbers in a text's tokens, shape ().
    """

    def __init__(self, num_species: int, num_features: int, num_tokens: int, text_features: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.middle: Tensor
        self.spread: Tensor
        self.size: Tensor
        self.register_buffer("rows", torch.zeros(num_species, num_features))
        self.register_buffer("middle", torch.zeros(num_features))
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("size", torch.ones(()))
        self.first, self.second = nn.Linear(num_features, HIDDEN), nn.Linear(HIDDEN, num_tokens * text_features)
        self.num_tokens = num_tokens
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    @torch.no_grad()
    def fit(self, features: Tensor, tokens: Tensor) -> None:
        """Set what rows and tokens are scaled by, before the first training.

        Args:
            features: of photographs, shape (N, num_features).
            tokens: of some texts, of any shape.
        """
        self.middle.copy_(features.mean(0))
        self.spread.copy_((features - self.middle.cpu()).square().mean().sqrt().clamp(min=1e-6))
        self.size.copy_(tokens.float().abs().median().clamp(min=1e-6))

    def row_of(self, features: Tensor) -> Tensor:
        """Mean features of photographs, standardised.

        Args:
            features: of the photographs of one species or several, or their means, shape (…, num_features).
        """
        return (features.to(self.middle) - self.middle) / self.spread

    @torch.no_grad()
    def store(self, features: Tensor, labels: np.ndarray) -> None:
        """Compute the rows of the species of these photographs; those of others stay as they are.

        Args:
            features: shape (N, num_features).
            labels: of the photographs, int64, shape (N,).
        """
        present, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
        total = features.new_zeros(len(present), features.shape[1]).index_add_(0, torch.from_numpy(places), features)
        self.rows[torch.from_numpy(present)] = self.row_of(total / torch.from_numpy(counts)[:, None].to(total))

    def add_species(self, row: Tensor) -> None:
        """Add a species with its row, shape (num_features,)."""
        self.rows = torch.cat([self.rows, row.to(self.rows)[None]])

    def nearest(self, row: Tensor) -> int:
        """Number of the species whose row is most similar (cosine)."""
        return int(nn.functional.cosine_similarity(self.rows, row.to(self.rows)[None]).argmax())

    def forward(self, rows: Tensor) -> Tensor:
        """What is added to the last tokens of a text, shape (N, num_tokens, text_features)."""
        made = self.second(nn.functional.gelu(self.first(rows)))
        return self.size * made.unflatten(1, (self.num_tokens, -1))

    def tell(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """Tokens of texts, with what the rows add to the last of each.

        Args:
            tokens: shape (N, length, text_features).
            rows: shape (N, num_features).
        """
        rest, last = tokens.split([tokens.shape[1] - self.num_tokens, self.num_tokens], dim=1)
        return torch.cat([rest, (last.float() + self(rows)).to(tokens.dtype)], dim=1)


class OtherPhotographs:
    """Mean features of other photographs of the same species, chosen at random, of other groups where there are any.

    Args:
        features: of all photographs, shape (N, num_features).
        labels: their species, int64, shape (N,).
        groups: int64, shape (N,); photographs with the same number show the same individual, track or specimen.
    """

    def __init__(self, features: Tensor, labels: np.ndarray, groups: np.ndarray) -> None:
        order = np.lexsort((groups, labels))
        label, group, place = labels[order], groups[order], np.arange(len(order))
        start = np.searchsorted(label, label)
        number = np.searchsorted(label, label, side="right") - start
        new = np.ones(len(order), dtype=bool)
        new[1:] = (label[1:] != label[:-1]) | (group[1:] != group[:-1])
        which = np.cumsum(new) - 1
        begin, length = np.flatnonzero(new)[which], np.bincount(which)[which]  # of the photograph's own group in the order
        only = length == number  # no other group: leave out the photograph alone; a single one stands for itself
        begin, length = np.where(only, place, begin), np.where(only, np.where(number > 1, 1, 0), length)
        spans = np.empty((len(order), 4), dtype=np.int64)
        spans[order] = np.stack([start, number - length, begin, length], axis=1)
        self.features, self.order, self.spans = features.half(), torch.from_numpy(order), torch.from_numpy(spans)

    def means(self, photographs: Tensor) -> Tensor:
        """Mean features of 1 to ``MOST_DRAWN`` others, drawn with replacement, for each photograph.

        Args:
            photographs: their numbers, int64, shape (N,).

        Returns:
            float32, shape (N, num_features), on the CPU.
        """
        chance = torch.rand(len(photographs), MOST_DRAWN + 1, device=photographs.device).cpu()
        start, number, begin, length = self.spans[photographs.cpu()].unbind(1)
        place = torch.minimum((chance[:, 1:] * number[:, None]).long(), number[:, None] - 1) + start[:, None]
        place += torch.where(place >= begin[:, None], length[:, None], 0)
        drawn = (chance[:, :1] * MOST_DRAWN).long() + 1
        used = (torch.arange(MOST_DRAWN) < drawn).float()
        return torch.einsum("nkd,nk->nd", self.features[self.order[place]].float(), used / drawn)
