"""The programs people use: the command line and its demonstration. They parse, call one stage function, and show."""

__all__: list[str] = []
