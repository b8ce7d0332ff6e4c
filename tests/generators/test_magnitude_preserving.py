"""Magnitudes through the magnitude-preserving U-Net, at first and after training steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from syntype.generators.networks.magnitude_preserving_unet import (
    Conv,
    Embedding,
    Fourier,
    Linear,
    MagnitudePreservingUNet,
    WeightedLayer,
    force_unit_weights,
    mp_cat,
    mp_silu,
    mp_sum,
    pixel_norm,
)


def rms(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


LAYERS: dict[str, Callable[[], Tensor]] = {
    "silu": lambda: mp_silu(torch.randn(100_000)),
    "sum": lambda: mp_sum(torch.randn(100_000), torch.randn(100_000), 0.3),
    "cat": lambda: mp_cat(torch.randn(16, 32, 32, 32), torch.randn(16, 96, 32, 32)),
    "pixel norm": lambda: pixel_norm(5 * torch.randn(8, 64, 16, 16)),
    "fourier": lambda: Fourier(4096)(torch.randn(64)),
    "linear": lambda: Linear(64, 512)(torch.randn(512, 64)),
    "convolution": lambda: Conv(64, 128, 3)(torch.randn(8, 64, 16, 16))[:, :, 1:-1, 1:-1],  # beyond the edge there are zeros
    "embedding": lambda: Embedding(10, 64)(torch.arange(10)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_keep_unit_magnitude(name: str) -> None:
    torch.manual_seed(0)
    assert abs(rms(LAYERS[name]()) - 1) < 0.02


def test_concatenation_weighs_both_inputs_alike() -> None:
    torch.manual_seed(0)
    joined = mp_cat(torch.randn(4, 8, 32, 32), torch.randn(4, 56, 32, 32))
    first, second = joined[:, :8].square().sum(), joined[:, 8:].square().sum()
    assert_close(first / second, torch.tensor(1.0), atol=0.05, rtol=0)


def magnitudes(unet: MagnitudePreservingUNet, images: Tensor, levels: Tensor, labels: Tensor) -> dict[str, float]:
    found: dict[str, float] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, rms(out)))
        for name, module in unet.named_modules()
        if name.partition(".")[0] in ("encoder", "middle", "decoder") and name.count(".") == 1
    ]
    assert unet.labels is not None
    unet(images, levels, unet.labels(labels))
    for hook in hooks:
        hook.remove()
    return found


def scenes(n: int, generator: torch.Generator) -> Tensor:
    """Smooth fields of unit magnitude: neighbours depend on one another, as in latents."""
    coarse = torch.randn(n, 4, 4, 4, generator=generator)
    return pixel_norm(torch.nn.functional.interpolate(coarse, scale_factor=4.0, mode="bilinear", align_corners=False), dim=1)


def test_activations_keep_unit_magnitude_at_first_and_in_training() -> None:
    torch.manual_seed(0)
    unet = MagnitudePreservingUNet(4, 3, 32, (1, 2, 3), 1, 2, 0.0)
    force_unit_weights(unet)
    source = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(unet.parameters(), lr=5e-3, betas=(0.9, 0.99))
    labels = torch.arange(8) % 3
    for step in range(31):
        clean = scenes(8, source)[..., 4:12, 4:12]
        sigma = torch.randn(8, generator=source).exp()
        noise = torch.randn(clean.shape, generator=source)
        noisy = (clean + sigma[:, None, None, None] * noise) / (1 + sigma.square()).sqrt()[:, None, None, None]
        if step in (0, 30):
            found = magnitudes(unet, noisy, sigma.log() / 4, labels)
            assert len(found) == 5 + 2 + 8
            assert max(abs(value - 1) for value in found.values()) < 0.1, found
        assert unet.labels is not None
        loss = (unet(noisy, sigma.log() / 4, unet.labels(labels)) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        force_unit_weights(unet)
    assert loss < 0.8, "the network must have learnt something, or its magnitudes prove little"
    for layer in unet.modules():
        if isinstance(layer, WeightedLayer):
            rows = layer.weight.detach().flatten(1).square().mean(1)
            assert_close(rows, torch.ones_like(rows), atol=1e-5, rtol=0)


def test_a_gradient_does_not_stretch_the_weights() -> None:
    torch.manual_seed(0)
    layer = Conv(8, 16, 3)
    (layer(torch.randn(4, 8, 6, 6)) * torch.randn(4, 16, 6, 6)).sum().backward()
    assert layer.weight.grad is not None
    along = (layer.weight.grad * layer.weight.detach()).flatten(1).sum(1)
    assert along.abs().max() < 1e-4 * layer.weight.grad.flatten(1).norm(dim=1).min()


def test_a_new_network_answers_nothing_and_any_shape() -> None:
    unet = MagnitudePreservingUNet(4, 0, 16, (1, 2), 1, 1, 0.0)
    answer = unet(torch.randn(2, 4, 6, 10), torch.zeros(2), None)
    assert answer.shape == (2, 4, 6, 10) and not answer.any()
