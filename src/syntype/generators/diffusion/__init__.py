"""What diffusion families share: noise levels, samplers, latent space."""

__all__: list[str] = []
