"""Pre-trained text-to-image models: where they come from, what they need, and what the families that train adapters on them share."""

__all__: list[str] = []
