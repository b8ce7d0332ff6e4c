"""Data sets on the Hugging Face hub by their names: ``hf:owner/name``. They are read as ``hugging_face`` reads those on the disk."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from syntype.collection.sources.annotations import split_in
from syntype.collection.sources.base import Listing, SourceConfig
from syntype.collection.sources.hugging_face import arrow_part, list_parts
from syntype.errors import InputError

__all__ = ["is_hub_name", "read_hub"]

_HUB = re.compile(r"hf:(?P<name>[A-Za-z0-9][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w.-]+))?$")
_PATIENCE = 4.0
"""Seconds in which the hub must answer."""


def is_hub_name(source: Path) -> bool:
    """Whether a source is the name of a data set on the Hugging Face hub: ``hf:owner/name``."""
    return _HUB.match(source.as_posix()) is not None


def read_hub(source: Path, config: SourceConfig) -> Listing:
    """List the images of a data set on the Hugging Face hub. It is downloaded into the cache of the library ``datasets``.

    Args:
        source: ``hf:owner/name``, with ``@revision`` behind it if a certain version is wanted.
        config: names of columns.

    Raises:
        InputError: ``datasets`` is not installed, there is no such data set, or the hub does not answer and the data set is not in the cache.
    """
    found = _HUB.match(source.as_posix())
    assert found is not None
    try:
        import datasets
    except ImportError:
        raise InputError("needs the library datasets", "Install it with: pip install 'syntype[hub]'", file=source) from None
    talk = logging.getLogger("huggingface_hub")
    level = talk.level
    talk.setLevel(logging.CRITICAL)  # it tells of every attempt
    answers = True
    try:
        answers = _answers(found["name"], found["revision"])
        with nullcontext() if answers else _cache_only():  # ``datasets`` would try again for half a minute
            loaded = datasets.load_dataset(found["name"], revision=found["revision"])
    except Exception as error:  # of the network, of the hub, or of the data set's own tables
        reason = f"cannot be loaded from the hub ({' '.join(str(error).split())[:150] or type(error).__name__})"
        hint = "Check the name and the internet connection, or download the data set elsewhere and give its folder."
        if not answers:
            reason = "cannot be loaded: the hub does not answer, and the data set was not loaded before"
            hint = "Check the internet connection, or download the data set elsewhere and give its folder."
        raise InputError(reason, hint, file=source.as_posix()) from None
    finally:
        talk.setLevel(level)
    parts = [
        arrow_part(f"{source.as_posix()}, {name}", data.data.table, config, split_in(str(name)), Path(), {}, getattr(data, "_indices", None))
        for name, data in loaded.items()
    ]
    info = next(iter(loaded.values())).info if parts else None
    origin = {"name": source.as_posix(), "citation": getattr(info, "citation", "") or None, "licence": getattr(info, "license", "") or None}
    return list_parts(source, config, parts, "Hugging Face data set from the hub", [{key: value for key, value in origin.items() if value}])


def _answers(name: str, revision: str | None) -> bool:
    """Whether the hub answers when it is asked for a data set, whatever it says, within ``_PATIENCE`` seconds."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import HfHubHTTPError

    answered = threading.Event()
    ended = threading.Event()

    def ask() -> None:
        try:
            HfApi().dataset_info(name, revision=revision, timeout=_PATIENCE)
            answered.set()
        except (HfHubHTTPError, ValueError):  # no such data set; an odd name; an answer of another program
            answered.set()
        except Exception:  # of the network: each library that asks has its own
            pass
        finally:
            ended.set()

    # In a thread, as the time for finding the address is not limited, and each of several addresses has its own.
    threading.Thread(target=ask, daemon=True).start()
    ended.wait(_PATIENCE)
    return answered.is_set()


@contextmanager
def _cache_only() -> Iterator[None]:
    """Let ``datasets`` take only what it downloaded before."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
