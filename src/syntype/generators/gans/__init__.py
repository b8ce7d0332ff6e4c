"""What adversarial families share: losses, training steps, the search for the latent of a photograph."""

__all__: list[str] = []
