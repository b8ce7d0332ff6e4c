"""Loading models that may have to be downloaded: without the libraries' own messages, and with one line if it fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from syntype.errors import UnsupportedError, shortened

__all__ = ["from_hub", "without_messages"]


@contextmanager
def from_hub(name: str, prefix: str, place: str) -> Iterator[None]:
    """While a model is loaded that may have to be downloaded from the Hugging Face Hub.

    Args:
        name: The encoder's name, for the message.
        prefix: ``timm:`` or ``open_clip:``.
        place: The model: a built-in name, ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``.

    Raises:
        UnsupportedError: It could not be loaded, for whatever reason: the libraries raise many kinds of errors.
    """
    try:
        with without_messages():
            yield
    except ImportError as error:
        raise UnsupportedError(
            f"backbone {name}: needs the package {error.name or 'transformers'}. Install it: pip install 'syntype[clip,diffusion]'"
        ) from None
    except Exception as error:
        reason = shortened(" ".join(str(error).split()), 160)
        instead = f"{prefix}local-dir:FOLDER, its folder copied from the Hub" if ":" in place else f"{prefix}{place}:/path/to/weights.safetensors"
        mend = f"Connect to the internet once, after which the model is kept, or give {instead}."
        if place.startswith("local-dir:"):
            mend = "Give the model's whole folder as it is on the Hugging Face Hub, with its description and its weights."
        raise UnsupportedError(f"backbone {name}: could not be loaded ({type(error).__name__}: {reason}). {mend}") from None


@contextmanager
def without_messages() -> Iterator[None]:
    """Silence the libraries' warnings for a while; they tell of retries and random weights, which the caller checks itself."""
    root, before, silent = logging.getLogger(), logging.root.manager.disable, logging.NullHandler()
    root.addHandler(silent)  # without any handler, a message would set up the logging of the whole process
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)
