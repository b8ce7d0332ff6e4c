"""Which images are on whose screen at the moment, so that reviewers who share the images are not offered the same ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

__all__ = ["OFFER_SECONDS", "Offers"]

OFFER_SECONDS = 900.0
"""After so long an image that was offered and not judged is offered to others."""


class Offers:
    """Images offered and not judged yet. In memory: after a restart two reviewers may be offered the same image once. Safe to use from threads."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], dict[str, float]] = {}
        self._lock = threading.Lock()

    def offer(self, collection: str, images: Iterable[str], reviewer: str) -> None:
        """Note that a reviewer was offered some images just now."""
        now = time.monotonic()
        with self._lock:
            for key in [key for key, until in self._until.items() if max(until.values()) < now]:
                del self._until[key]
            for image in images:
                self._until.setdefault((collection, image), {})[reviewer] = now + OFFER_SECONDS

    def judged(self, collection: str, images: Iterable[str], reviewer: str) -> None:
        """Note that a reviewer has judged some images: now the decision counts."""
        with self._lock:
            for image in images:
                until = self._until.get((collection, image), {})
                until.pop(reviewer, None)
                if not until:
                    self._until.pop((collection, image), None)

    def to_others(self, collection: str, image: str, reviewer: str) -> set[str]:
        """Other reviewers who were offered an image, and may be judging it."""
        now = time.monotonic()
        with self._lock:
            return {name for name, until in self._until.get((collection, image), {}).items() if name != reviewer and until >= now}
