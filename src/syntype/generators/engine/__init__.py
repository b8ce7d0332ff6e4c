"""Training loop, checkpoints, previews, and the trained generator that later stages draw from."""

__all__: list[str] = []
