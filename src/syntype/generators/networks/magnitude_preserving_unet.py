"""The magnitude-preserving U-Net: activations and weights keep unit magnitude throughout training.

Karras et al. 2023, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2, arXiv 2312.02696), configuration G, written from the
paper's text and equations. Given independent inputs of unit mean square, every layer without a learned gain gives outputs of unit mean square. No
layer has a bias; the image has one more channel, of ones.

Differences from the paper:
- Every block ends in pixel norm. (The paper's encoder blocks begin with it, and its decoder has none.) The calculation of magnitudes assumes that a
  residual branch and its skip path are independent. In training on images they are not: at the learning rates of small trainings, the decoder's
  activations were observed to double within 30 steps.
- The embedding of a species is a row of weights of unit mean square. The paper's linear layer over a one-hot vector normalises across species, so
  that the embedding of a rare species would depend on all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "Embedding",
    "Fourier",
    "MagnitudePreservingUNet",
    "WeightedLayer",
    "force_unit_weights",
    "mp_cat",
    "mp_silu",
    "mp_sum",
    "pixel_norm",
    "unit_rows",
]

EPSILON = 1e-4
"""Root mean squares below this are not scaled up further."""
RESIDUAL_BALANCE = 0.3
"""Weight t of the residual branch in its sum with the skip path (the paper's t)."""
CHANNELS_PER_HEAD = 64
"""Channels of an attention head."""


def unit_rows(weight: Tensor) -> Tensor:
    """Scale each row (first dimension) to unit mean square (the paper's eq. 66, times the square root of the row's length)."""
    others = tuple(range(1, weight.dim()))
    return weight / weight.square().mean(dim=others, keepdim=True).sqrt().clamp(min=EPSILON)


def pixel_norm(x: Tensor, dim: int = 1) -> Tensor:
    """Scale the vector at every position to unit mean square (eq. 30)."""
    return x * x.float().square().mean(dim=dim, keepdim=True).clamp(min=EPSILON**2).rsqrt().to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU divided by its root mean square on standard normal inputs (eq. 81)."""
    return F.silu(x) / 0.596


def mp_sum(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Weighted sum, with weight ``share`` on the second, scaled to keep the magnitude (eq. 88)."""
    return torch.lerp(first, second.to(first.dtype), share) / ((1 - share) ** 2 + share**2) ** 0.5


def mp_cat(first: Tensor, second: Tensor) -> Tensor:
    """Concatenation of channels in which both inputs contribute equally, whatever their numbers of channels (eq. 103 with t = 1/2)."""
    a, b = first.shape[1], second.shape[1]
    return torch.cat([first * ((a + b) / (2 * a)) ** 0.5, second.to(first.dtype) * ((a + b) / (2 * b)) ** 0.5], dim=1)


class WeightedLayer(nn.Module):
    """A layer whose weights are normalised in every forward pass (section 2.3), so that their magnitude has no effect.

    Gradient steps still let the stored weights grow; ``force_unit_weights`` scales them back to unit magnitude after each step.
    """

    weight: nn.Parameter

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))


class Linear(WeightedLayer):
    """A linear layer without bias: shape (N, channels_in) -> (N, channels_out)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_out, channels_in)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, unit_rows(self.weight) / self.weight[0].numel() ** 0.5)


class Conv(WeightedLayer):
    """A convolution without bias that keeps height and width, with zero padding."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__(channels_out, channels_in, kernel, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, unit_rows(self.weight) / self.weight[0].numel() ** 0.5, padding=self.weight.shape[-1] // 2)


class Embedding(WeightedLayer):
    """One vector of unit mean square for each label: int64, shape (N,) -> shape (N, channels)."""

    def forward(self, labels: Tensor) -> Tensor:
        """The vectors of the labels."""
        return unit_rows(F.embedding(labels, self.weight))


class Fourier(nn.Module):
    """Random Fourier features of unit mean square (appendix B.3, eq. 75)."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * torch.pi * torch.randn(channels))
        self.register_buffer("phases", 2 * torch.pi * torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Fourier features of noise levels: shape (N,) -> shape (N, channels)."""
        return torch.cos(x[:, None] * self.frequencies + self.phases) * 2**0.5


@torch.no_grad()
def force_unit_weights(module: nn.Module) -> None:
    """Forced weight normalisation (section 2.3): scale every row of every layer's weights to unit mean square."""
    for layer in module.modules():
        if isinstance(layer, WeightedLayer):
            layer.weight.copy_(unit_rows(layer.weight))


class _Attention(nn.Module):
    """Self-attention over positions, with cosine similarity of queries and keys (section 2.1, configuration G), summed with its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, channels // CHANNELS_PER_HEAD), 0, -1) if channels % heads == 0)
        self.queries_keys_values = Conv(channels, 3 * channels, 1)
        self.out = Conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        parts = self.queries_keys_values(x).view(n, self.heads, 3, c // self.heads, height * width)
        query, key, value = pixel_norm(parts, dim=3).transpose(3, 4).unbind(2)  # vectors of length sqrt(channels): their products are cosines
        found = F.scaled_dot_product_attention(query, key, value)
        return mp_sum(x, self.out(found.transpose(2, 3).reshape(n, c, height, width)), RESIDUAL_BALANCE)


class _Block(nn.Module):
    """A residual block of configuration G, of the encoder or of the decoder (appendix B.1).

    Args:
        is_encoder: build an encoder block; otherwise a decoder block.
        resample: ``down`` and ``up`` halve or double height and width first, ``keep`` does neither.
        condition_dim: length of the vector of noise level and species, which scales the branch's channels by 1 plus a learned gain that starts at 0.
        has_attention: add self-attention.
        dropout: probability with which a number of the branch is set to zero in training.
    """

    def __init__(
        self, channels_in: int, channels_out: int, condition_dim: int, *, is_encoder: bool, resample: str, has_attention: bool, dropout: float
    ) -> None:
        super().__init__()
        self.is_encoder, self.resample, self.dropout = is_encoder, resample, dropout
        self.match = Conv(channels_in, channels_out, 1) if channels_in != channels_out else None
        self.first = Conv(channels_out if is_encoder else channels_in, channels_out, 3)
        self.second = Conv(channels_out, channels_out, 3)
        self.code = Linear(condition_dim, channels_out)
        self.gain = nn.Parameter(torch.zeros(()))
        self.attention = _Attention(channels_out) if has_attention else None

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        if self.resample == "down":
            x = F.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if self.is_encoder:
            x = pixel_norm(x if self.match is None else self.match(x))
        branch = self.first(mp_silu(x))
        branch = mp_silu(branch * (1 + self.gain * self.code(code)).to(branch.dtype)[:, :, None, None])
        if self.training and self.dropout:  # the batch is the first dimension, as ``GenerativeModel.training_step`` requires of random numbers
            kept = torch.rand(branch.shape, device=branch.device) >= self.dropout
            branch = branch * kept / (1 - self.dropout)
        branch = self.second(branch)
        if not self.is_encoder and self.match is not None:
            x = self.match(x)
        x = mp_sum(x, branch, RESIDUAL_BALANCE)
        return pixel_norm(x if self.attention is None else self.attention(x))


class MagnitudePreservingUNet(nn.Module):
    """Noisy images, noise levels and embeddings of labels -> outputs of unit magnitude, times a learned gain that starts at 0.

    Args:
        channels_image: channels of the images.
        num_labels: number of label embeddings; 0 for a network without labels.
        channels: channels at the finest resolution.
        channel_multipliers: channels at each resolution, finest first, in multiples of ``channels``.
        blocks: residual blocks at each resolution of the encoder; the decoder has one more.
        attention_levels: the number of resolutions, from the coarsest, whose blocks have attention.
        dropout: as for the blocks.
    """

    def __init__(
        self,
        channels_image: int,
        num_labels: int,
        channels: int,
        channel_multipliers: Sequence[int],
        blocks: int,
        attention_levels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        widths = [channels * multiplier for multiplier in channel_multipliers]
        code = max(widths)
        self.fourier = Fourier(channels)
        self.noise = Linear(channels, code)
        self.labels = Embedding(num_labels, code) if num_labels else None

        def block(channels_in: int, level: int, *, is_encoder: bool, resample: str = "keep", has_attention: bool | None = None) -> _Block:
            here = level >= len(widths) - attention_levels if has_attention is None else has_attention
            return _Block(channels_in, widths[level], code, is_encoder=is_encoder, resample=resample, has_attention=here, dropout=dropout)

        self.enter = Conv(channels_image + 1, widths[0], 3)
        self.encoder, skips = nn.ModuleList(), [widths[0]]
        for level, width in enumerate(widths):
            if level:
                self.encoder.append(block(widths[level - 1], level, is_encoder=True, resample="down", has_attention=False))
                skips.append(width)
            for _ in range(blocks):
                self.encoder.append(block(width, level, is_encoder=True))
                skips.append(width)
        coarsest = len(widths) - 1
        self.middle = nn.ModuleList(
            block(widths[-1], coarsest, is_encoder=False, has_attention=has_attention) for has_attention in (bool(attention_levels), False)
        )
        self.decoder = nn.ModuleList()
        for level in range(coarsest, -1, -1):
            if level < coarsest:
                self.decoder.append(block(widths[level + 1], level, is_encoder=False, resample="up", has_attention=False))
            for _ in range(blocks + 1):
                self.decoder.append(block(widths[level] + skips.pop(), level, is_encoder=False))
        self.leave = Conv(widths[0], channels_image, 3)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor, noise_levels: Tensor, labels: Tensor | None) -> Tensor:
        """Outputs, shape (N, channels_image, height, width). Height and width must be divisible by two for each resolution but the finest.

        Args:
            images: of unit magnitude, shape (N, channels_image, height, width).
            noise_levels: one number an image, shape (N,).
            labels: embeddings, shape (N, condition_dim), as ``labels`` returns them; None for a network without labels.
        """
        code = self.noise(self.fourier(noise_levels))
        if labels is not None:
            code = mp_sum(code, labels, 0.5)
        code = mp_silu(code)
        x = self.enter(torch.cat([images, torch.ones_like(images[:, :1])], dim=1))
        skips = [x]
        for block in self.encoder:
            x = block(x, code)
            skips.append(x)
        for block in self.middle:
            x = block(x, code)
        for block in self.decoder:
            x = block(x if block.resample == "up" else mp_cat(x, skips.pop()), code)
        return self.leave(x).float() * self.gain
