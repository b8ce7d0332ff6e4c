"""Content credentials of synthetic images: a signed statement inside the file that a model made it, and which.

Standard: Coalition for Content Provenance and Authenticity, C2PA 2.x (https://spec.c2pa.org). The claim holds one action, ``c2pa.created``, with the
digital source type of the image's own mark, the version of Syntype that drew it, and the generator's id, species and seed. The picture and the
mark that the file has already stay as they are. Programs show the signer as trusted if the certificate comes from an issuer on their list.
"""

from __future__ import annotations

import datetime
import html
import io
import json
import re
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, UnidentifiedImageError

from syntype.errors import InputError, UnsupportedError, shortened

__all__ = ["DRAWN_ELSEWHERE", "Signer", "is_drawn"]

DRAWN_ELSEWHERE = "drawn by another program"
"""Why an image is not signed of which Syntype does not know how it came about."""
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_TRAINED = "trainedAlgorithmicMedia"
_MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}
_SOURCE_TYPE = re.compile(r"digitalsourcetype/(\w+)")
_SOFTWARE = re.compile(r"<xmp:CreatorTool>([^<]{1,100})</xmp:CreatorTool>")
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}  # a thumbnail would be larger than many of the images


def is_drawn(row: pd.Series) -> bool:
    """Whether a row is of an image that Syntype has drawn. Only of those it can say how they came about."""
    return bool(pd.notna(row["origin"]) and row["origin"] == "synthetic" and pd.notna(row["generator_id"]))


class Signer:
    """Signs image files.

    Args:
        certificate: PEM file with the signer's certificate, followed by those of its issuers.
        key: PEM file with the private key, without a password.

    Attributes:
        num_signed: number of files signed so far.
        left: number of files that were left as they are, by reason.

    Raises:
        UnsupportedError: the libraries are not installed.
        InputError: a file is missing or wrong, they do not belong together, or the certificate is not valid today or not for signing content.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        try:
            import c2pa
        except ImportError:
            raise UnsupportedError("signing needs the library c2pa-python. Install it with: pip install 'syntype[c2pa]'") from None
        self._c2pa, self._file = c2pa, certificate
        chain, secret, algorithm = _read(certificate, key)
        self.num_signed = 0
        self.left: Counter[str] = Counter()
        try:
            self._context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
            self._signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, secret, None))
            trial = io.BytesIO()
            Image.new("RGB", (8, 8)).save(trial, "PNG")
            self._sign(trial.getvalue(), "image/png", {})
        except c2pa.C2paError as error:
            hint = (
                "The certificate must be one for signing content (C2PA), with those of its issuers behind it; a self-signed one alone is not enough."
            )
            raise InputError(f"cannot sign images ({_brief(error)})", hint, file=certificate) from None

    def signed(self, data: bytes, row: pd.Series) -> bytes:
        """An image file with its credentials. A file that has credentials, or whose format holds none, is returned as it is, and counted in ``left``.

        Args:
            data: the file.
            row: its row in the table.

        Raises:
            InputError: the file cannot be signed.
        """
        try:
            with Image.open(io.BytesIO(data)) as image:
                kind, mark = image.format or "", image.info.get("xmp") or b""
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            kind, mark = "", b""
        if kind not in _MIME:
            self.left["their format holds no credentials"] += 1
            return data
        try:
            if (present := self._c2pa.Reader.try_create(_MIME[kind], io.BytesIO(data))) is not None:
                present.close()
                self.left["signed before"] += 1
                return data
            content = self._sign(data, _MIME[kind], self._created(mark if isinstance(mark, str) else mark.decode("utf-8", "replace"), row))
        except self._c2pa.C2paError as error:
            raise InputError(
                f"cannot be signed ({_brief(error)})", "Draw the image again, or export without --sign.", file=row["file_name"]
            ) from None
        self.num_signed += 1
        return content

    def _created(self, mark: str, row: pd.Series) -> dict[str, Any]:
        """What is said of the making of an image."""
        kind, software = _SOURCE_TYPE.search(mark), _SOFTWARE.search(mark)
        name, _, version = (html.unescape(software[1]) if software else "").partition(" ")
        values = {"generator": str(row["generator_id"]), "species": _text(row["species"]), "seed": _text(row["seed"])}
        return {
            "digitalSourceType": _SOURCE_TYPES + (kind[1] if kind else _TRAINED),
            "softwareAgent": {"name": name, "version": version} if name and version else _software(),
            "parameters": {key: value for key, value in values.items() if value is not None},
        } | ({"description": terms} if (terms := _text(row["terms"])) else {})

    def _sign(self, data: bytes, mime: str, created: dict[str, Any]) -> bytes:
        action = {"action": "c2pa.created", "digitalSourceType": _SOURCE_TYPES + _TRAINED, "softwareAgent": _software(), **created}
        assertion = {"label": "c2pa.actions.v2", "data": {"actions": [action]}}
        manifest = {"claim_generator_info": [_software()], "format": mime, "assertions": [assertion]}
        out = io.BytesIO()
        builder = self._c2pa.Builder(json.dumps(manifest), context=self._context)
        builder.sign(self._signer, mime, io.BytesIO(data), out)
        return out.getvalue()


def _read(certificate: Path, key: Path) -> tuple[bytes, bytes, bytes]:
    """The certificates, the key, and the algorithm that it is for, after checking that they belong together."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    parts = []
    for path, what in ((certificate, "certificate"), (key, "key")):
        try:
            parts.append(path.read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", f"Give the {what} with --sign-{what[:4]}.", file=path) from None
    chain, secret = parts
    try:
        own = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise InputError("is no certificate", "Give a PEM file: it begins with -----BEGIN CERTIFICATE-----.", file=certificate) from None
    try:
        private = serialization.load_pem_private_key(secret, None)
    except (ValueError, TypeError):  # TypeError: it has a password
        raise InputError("is no private key without a password", "Give a PEM file that begins with -----BEGIN PRIVATE KEY-----.", file=key) from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise InputError("is not the key of the certificate", f"Give the key that belongs to {shortened(certificate, 200)}.", file=key)
    now = datetime.datetime.now(datetime.UTC)
    if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
        days = f"{own.not_valid_before_utc:%Y-%m-%d} to {own.not_valid_after_utc:%Y-%m-%d}"
        raise InputError(f"is valid from {days}", "Give a certificate that is valid today.", file=certificate)
    curves = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
    algorithm = None
    if isinstance(private, ec.EllipticCurvePrivateKey):
        algorithm = curves.get(private.curve.name)
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = b"ps256"
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = b"ed25519"
    if algorithm is None:
        raise InputError("is a key of a kind that C2PA does not use", "Give one of the kind ECDSA (P-256, P-384, P-521), RSA or Ed25519.", file=key)
    return chain, secret, algorithm


def _software() -> dict[str, str]:
    return {"name": "Syntype", "version": metadata.version("syntype")}


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
