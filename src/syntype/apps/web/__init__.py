"""The Studio: a web application over one workspace folder. It asks, calls what the command line calls, and shows; it computes nothing itself."""

__all__: list[str] = []
