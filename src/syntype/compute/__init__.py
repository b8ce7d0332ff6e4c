"""What all networks share: device and precision, processes, moving averages of weights, tensor conversions, grids of images."""

__all__: list[str] = []
