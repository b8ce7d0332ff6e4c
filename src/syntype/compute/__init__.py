"""Shared by all networks: device and precision, processes, moving averages of weights, tensor conversions, image grids."""

__all__: list[str] = []
