"""Passwords, of which only a slow hash is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["UNKNOWN", "hash_password", "is_password"]

COST = (15, 8, 3)
"""Of new hashes: the logarithm of N, r and p of scrypt: 32 MiB and a few tenths of a second, as OWASP's Password Storage Cheat Sheet advises."""
_MEMORY = 128 * 1024 * 1024
UNKNOWN = f"scrypt$15$8$3${'A' * 22}${'A' * 43}"
"""A hash of no password, to be compared where there is no such account, so that the answer takes as long."""


def hash_password(password: str) -> str:
    """The hash to keep: ``scrypt$LOG_N$R$P$SALT$HASH``."""
    log_n, r, p = COST
    salt = secrets.token_bytes(16)
    return f"scrypt${log_n}${r}${p}${_text(salt)}${_text(_scrypt(password, salt, log_n, r, p))}"


def is_password(password: str, kept: str) -> bool:
    """Whether a hash is that of a password."""
    _, log_n, r, p, salt, value = kept.split("$")
    return hmac.compare_digest(_scrypt(password, _bytes(salt), int(log_n), int(r), int(p)), _bytes(value))


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=2**log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
