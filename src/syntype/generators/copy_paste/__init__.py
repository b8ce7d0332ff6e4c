"""Copy-paste augmentation: segmentation, stored photographs, pasting."""

__all__: list[str] = []
