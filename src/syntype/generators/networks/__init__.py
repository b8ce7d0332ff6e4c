"""Networks that families are built from."""

__all__: list[str] = []
