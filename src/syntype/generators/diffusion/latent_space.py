"""The latent space: an autoencoder (diffusers' AutoencoderKL, Apache-2.0) and the normalisation of its latents.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv 2112.10752): images are encoded to maps of an eighth of
their height and width. The paper trains with LPIPS and a discriminator, which need further networks. The autoencoder trained here on the collection
uses absolute error, structural similarity and differences of neighbouring pixels. It learns the residual to a thumbnail of an eighth of the side,
which is passed through the latents unchanged (a shortcut as in Chen et al. 2024, "Deep Compression Autoencoder", arXiv 2410.10733, here around the
whole network), as normalised layers need thousands of steps to learn colours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syntype.errors import InputError, shortened
from syntype.generators.diffusion.edm import SIGMA_DATA
from syntype.generators.networks.ssim import structural_dissimilarity

__all__ = ["LatentSpace", "architecture_of", "autoencoder_loss", "load_autoencoder", "small_architecture"]

CHANNELS = 4
"""Channels of the latents of an autoencoder that is trained here."""
THUMBNAIL_SCALE = 2.0
"""Factor from an image's colours (standard deviation about 0.5) to latents (about 1)."""


def small_architecture(width: int) -> dict[str, Any]:
    """Architecture of an autoencoder to train on the collection: an eighth of the side, 4 latent channels.

    Args:
        width: channels at the image's own resolution, a multiple of 8; twice as many at half, four times as many below.
    """
    return {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [width, 2 * width, 4 * width, 4 * width],
        "layers_per_block": 1,
        "latent_channels": CHANNELS,
        "norm_num_groups": width // 8,  # at least eight channels a group: normalised one by one, channels would lose the image's brightness
    }


def load_autoencoder(name: str) -> Any:
    """Load a pre-trained autoencoder.

    Args:
        name: a model on the Hugging Face hub, or a folder in diffusers' layout (config.json, *.safetensors), or a file in it.

    Raises:
        InputError: it cannot be loaded, or is not such an autoencoder.
    """
    from diffusers import AutoencoderKL

    path = Path(name)
    place = str(path.parent if path.is_file() else path) if path.exists() else name
    try:
        return AutoencoderKL.from_pretrained(place, use_safetensors=True, torch_dtype=torch.float32, low_cpu_mem_usage=False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = shortened(str(error).strip().partition("\n")[0].rstrip("."), 200)
        raise InputError(
            f"cannot be read as an autoencoder ({reason})",
            "Give a folder in diffusers' layout (config.json and diffusion_pytorch_model.safetensors) or a name on the Hugging Face hub (needs a "
            "connection). Or leave model.autoencoder out: an autoencoder is then trained on the collection.",
            file=name,
        ) from None


def architecture_of(autoencoder: Any) -> dict[str, Any]:
    """Configuration of an AutoencoderKL, as plain values that JSON can store."""
    found = {key: value for key, value in autoencoder.config.items() if not key.startswith("_")}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


class LatentSpace(nn.Module):
    """Images <-> latents of standard deviation ``SIGMA_DATA`` in every channel.

    Args:
        architecture: configuration of the autoencoder, used unless ``autoencoder`` is given.
        autoencoder: a pre-trained one.
        shortcut: add the image's thumbnail to the first three latent channels; for an autoencoder that is trained from scratch.

    Attributes:
        downsampling: ratio of the sides of image and latents.
        channels: of the latents.
        mean, std: of each channel over the training images, shape (channels, 1, 1).
        fitted: whether these have been measured; bool, shape ().
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, architecture: dict[str, Any], autoencoder: Any = None, *, shortcut: bool = False) -> None:
        super().__init__()
        from diffusers import AutoencoderKL

        self.shortcut = shortcut
        self.autoencoder: Any = autoencoder or AutoencoderKL.from_config(architecture)
        self.downsampling = 2 ** (len(architecture["block_out_channels"]) - 1)
        self.channels = int(architecture["latent_channels"])
        if autoencoder is None and self.autoencoder.quant_conv is not None:
            # initial standard deviation exp(-2), not 1: otherwise noise dominates the decoder's input in a short training
            nn.init.constant_(self.autoencoder.quant_conv.bias[self.channels :], -4.0)
        self.register_buffer("mean", torch.zeros(self.channels, 1, 1))
        self.register_buffer("std", torch.ones(self.channels, 1, 1))
        self.register_buffer("fitted", torch.tensor(False))

    def posterior(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the unnormalised latents: shape (N, channels, height / downsampling, width / downsampling) each."""
        posterior = self.autoencoder.encode(images_NCHW).latent_dist
        if not self.shortcut:
            return posterior.mean, posterior.std
        thumbnails = THUMBNAIL_SCALE * F.avg_pool2d(images_NCHW, self.downsampling)
        return posterior.mean + F.pad(thumbnails, (0, 0, 0, 0, 0, self.channels - 3)), posterior.std

    def decode_unscaled(self, latents: Tensor) -> Tensor:
        """Images from unnormalised latents; not clamped."""
        images = self.autoencoder.decode(latents).sample
        if not self.shortcut:
            return images
        thumbnails = latents[:, :3].to(images.dtype) / THUMBNAIL_SCALE
        return images + F.interpolate(thumbnails, scale_factor=self.downsampling, mode="bilinear")

    def fit_scale(self, posterior: Tensor) -> None:
        """Measure mean and standard deviation of the training images' unnormalised latents, shape (N, channels, height, width)."""
        values = posterior.float()
        self.mean.copy_(values.mean((0, 2, 3))[:, None, None])
        self.std.copy_(values.std((0, 2, 3)).clamp(min=1e-6)[:, None, None])
        self.fitted.fill_(True)

    def normalise(self, posterior: Tensor) -> Tensor:
        """Normalised latents, as the denoiser uses them, from unnormalised ones."""
        return (posterior - self.mean) / self.std * SIGMA_DATA

    def encode(self, images_NCHW: Tensor) -> Tensor:
        """Normalised latents of images, without sampling (the posterior's mean)."""
        return self.normalise(self.posterior(images_NCHW)[0])

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [-1, 1] from normalised latents."""
        return self.decode_unscaled(latents / SIGMA_DATA * self.std + self.mean).clamp(-1, 1)


def autoencoder_loss(images_NCHW: Tensor, reconstructed: Tensor, mean: Tensor, std: Tensor, kl_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Total loss of the autoencoder, and its two parts for the log: reconstruction error and divergence. Three scalars.

    Reconstruction error: mean absolute error, plus half the structural dissimilarity (Wang et al. 2004), plus the mean absolute error of differences
    between neighbouring pixels, which favours sharp edges. Divergence: the Kullback-Leibler divergence of the latents from the standard normal
    distribution, a number (Kingma & Welling 2014, appendix B).

    Args:
        images_NCHW, reconstructed: shape (N, 3, H, W).
        mean, std: of the latents.
        kl_weight: weight of the divergence.
    """
    off = F.l1_loss(reconstructed, images_NCHW) + 0.5 * structural_dissimilarity(reconstructed, images_NCHW)
    edges = [F.l1_loss(reconstructed.diff(dim=dim), images_NCHW.diff(dim=dim)) for dim in (2, 3)]
    distance = off + torch.stack(edges).sum()
    divergence = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).mean()
    return distance + kl_weight * divergence, distance.detach(), divergence.detach()
