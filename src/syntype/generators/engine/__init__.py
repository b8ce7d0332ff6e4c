"""The training loop, checkpoints, previews, and the trained generator that later stages use."""

__all__: list[str] = []
