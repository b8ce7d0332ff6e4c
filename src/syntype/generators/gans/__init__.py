"""Parts of adversarial families: losses, training steps, and the search for a photograph's latent. "Critic" is the discriminator of a Wasserstein
GAN."""

__all__: list[str] = []
