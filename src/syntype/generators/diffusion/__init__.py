"""Parts of diffusion families: noise levels, training losses, samplers, latent space."""

__all__: list[str] = []
