"""Copy-paste augmentation: photographs kept, segmented and pasted into others."""

__all__: list[str] = []
