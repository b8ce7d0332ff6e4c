"""Content credentials: read back with the C2PA library from what an export wrote, signed by a trial issuer that the test makes."""

from __future__ import annotations

import builtins
import datetime
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made import make_collection
from PIL import Image

import syntype
from syntype.apps.cli import main
from syntype.collection import Collection
from syntype.collection.exports import ExportConfig, export
from syntype.errors import InputError, UnsupportedError
from syntype.files import sha256_of
from syntype.run import Run
from syntype.synthesis.provenance import EDITED, NOTICE, TRAINED, Provenance, read_provenance, write_image

c2pa = pytest.importorskip("c2pa")
pytest.importorskip("cryptography")
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def make_chain(folder: Path, kind: str = "p256", *, days: int = 30, purpose: bool = True) -> tuple[Path, Path]:
    """Files with a certificate and its issuer's, and with the private key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Trial museum"), x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def usage(**on: bool) -> x509.KeyUsage:
        names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
                 "encipher_only", "decipher_only")  # fmt: skip
        return x509.KeyUsage(**{**dict.fromkeys(names, False), **on})

    issuer = ec.generate_private_key(ec.SECP256R1())
    key: Any = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    }[kind]()
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    begin = end - datetime.timedelta(days=365)

    def certificate(subject: str, public: Any, number: int) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(name("Trial issuer"), name(subject), public, number, begin, end)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)

    root = certificate("Trial issuer", issuer.public_key(), 1).add_extension(x509.BasicConstraints(True, None), True)
    root = root.add_extension(usage(key_cert_sign=True, crl_sign=True), True)
    own = certificate("Trial signer", key.public_key(), 2).add_extension(x509.BasicConstraints(False, None), True)
    own = own.add_extension(usage(digital_signature=True), True)
    own = own.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False)
    if purpose:
        own = own.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    pem = serialization.Encoding.PEM
    folder.mkdir(parents=True, exist_ok=True)
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(item.sign(issuer, hashes.SHA256()).public_bytes(pem) for item in (own, root)))
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, secret


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def drawn(tmp_path: Path) -> Collection:
    """Two photographs (one without an origin), three drawn images, one of another program, and one in a format without credentials."""
    made = make_collection(tmp_path / "made", {"Aus primus": 2}, split="train")
    rows: list[dict[str, Any]] = made.table.assign(origin=["real", None]).to_dict("records")
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    for number, (name, kind) in enumerate((("a.png", TRAINED), ("b.jpg", TRAINED), ("c.png", EDITED))):
        write_image(pixels, made.root / name, Provenance("gen-1", "ddpm", "Aus primus", number, digital_source_type=kind, software="Syntype 9.8"))
        rows.append({"image_id": name, "file_name": name, "species": "Aus primus", "origin": "synthetic", "generator_id": "gen-1", "seed": number,
                     "terms": NOTICE, "sha256": sha256_of(made.root / name)})  # fmt: skip
    Image.fromarray(pixels).save(made.root / "d.png")
    Image.fromarray(pixels).save(made.root / "e.bmp")
    rows.append({"image_id": "d", "file_name": "d.png", "species": "Aus primus", "origin": "synthetic"})
    rows.append({"image_id": "e", "file_name": "e.bmp", "species": "Aus primus", "origin": "synthetic", "generator_id": "gen-1", "seed": 5})
    return Collection.create(made.root, pd.DataFrame(rows), species=["Aus primus"]).hashed()


def signed(collection: Collection, out: Path, chain: tuple[Path, Path], layout: str = "collection") -> tuple[Path, int]:
    config = ExportConfig(layout=layout, sign=True, sign_cert=chain[0], sign_key=chain[1])  # type: ignore[arg-type]
    result = export(collection, config, out, Run.silent())
    with zipfile.ZipFile(result.file) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked", result.num_signed


def credentials(path: Path) -> dict[str, Any] | None:
    """The active manifest of a file; None if it has none."""
    reader = c2pa.Reader.try_create({".png": "image/png", ".jpg": "image/jpeg"}[path.suffix], io.BytesIO(path.read_bytes()))
    if reader is None:
        return None
    found = json.loads(reader.json())
    assert found["validation_state"] == "Valid"
    assert {item["code"] for item in found["validation_status"]} == {"signingCredential.untrusted"}  # as the issuer is the test's own
    manifest: dict[str, Any] = found["manifests"][found["active_manifest"]]
    return manifest


def test_synthetic_images_carry_what_made_them_and_photographs_stay_as_they_are(drawn: Collection, chain: tuple[Path, Path], tmp_path: Path) -> None:
    folder, num_signed = signed(drawn, tmp_path / "out", chain)
    assert num_signed == 3
    for number, (name, kind) in enumerate((("a.png", TRAINED), ("b.jpg", TRAINED), ("c.png", EDITED))):
        manifest = credentials(folder / name)
        assert manifest is not None and manifest["signature_info"]["issuer"] == "Trial museum"
        assert manifest["claim_generator_info"][0]["name"] == "Syntype" and manifest["claim_generator_info"][0]["version"] == syntype.__version__
        action = manifest["assertions"][0]["data"]["actions"][0]
        assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SOURCE + kind)
        assert action["softwareAgent"] == {"name": "Syntype", "version": "9.8"} and action["description"] == NOTICE
        assert action["parameters"] == {"generator": "gen-1", "species": "Aus primus", "seed": str(number)}
        assert read_provenance(folder / name) == read_provenance(drawn.root / name), "the mark in the file stays"
        assert (np.asarray(Image.open(folder / name)) == np.asarray(Image.open(drawn.root / name))).all()
    for name in (*drawn.table["file_name"][:2], "d.png", "e.bmp"):
        assert (folder / name).read_bytes() == (drawn.root / name).read_bytes()
    assert credentials(folder / "d.png") is None, "Syntype cannot vouch for the images of another program"
    again = Collection.open(folder)
    assert again.table["sha256"].tolist() == [sha256_of(again.path(row)) for row in range(len(again))]


def test_a_second_signature_is_not_put_over_the_first(drawn: Collection, chain: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = signed(drawn, tmp_path / "first", chain)
    again, num_signed = signed(Collection.open(folder), tmp_path / "second", chain)
    assert num_signed == 0 and (again / "a.png").read_bytes() == (folder / "a.png").read_bytes()


def test_a_trusted_issuer_is_seen_as_trusted(drawn: Collection, chain: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = signed(drawn, tmp_path / "out", chain)
    trust = {"trust": {"user_anchors": chain[0].read_text().partition("-----END CERTIFICATE-----\n")[2]}, "verify": {"verify_trust": True}}
    context = c2pa.Context(c2pa.Settings.from_dict(trust))
    reader = c2pa.Reader("image/png", io.BytesIO((folder / "a.png").read_bytes()), context=context)
    assert reader.get_validation_state() == "Trusted"


def test_a_changed_picture_is_found_out(drawn: Collection, chain: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = signed(drawn, tmp_path / "out", chain)
    data = bytearray((folder / "a.png").read_bytes())
    data[-20] ^= 1
    assert c2pa.Reader("image/png", io.BytesIO(bytes(data))).get_validation_state() == "Invalid"


def test_a_damaged_image_is_named_and_nothing_is_written(drawn: Collection, chain: tuple[Path, Path], tmp_path: Path) -> None:
    (drawn.root / "a.png").write_bytes((drawn.root / "a.png").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"^a\.png: cannot be signed"):
        signed(drawn, tmp_path / "out", chain)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["p384", "rsa", "ed25519"])
def test_usual_kinds_of_keys_sign(kind: str, drawn: Collection, tmp_path: Path) -> None:
    folder, num_signed = signed(drawn, tmp_path / "out", make_chain(tmp_path / "chain", kind))
    assert num_signed == 3 and credentials(folder / "a.png") is not None


def test_what_cannot_sign_is_refused_before_anything_is_written(drawn: Collection, chain: tuple[Path, Path], tmp_path: Path) -> None:
    other = make_chain(tmp_path / "other")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    cases = {
        "Give a PEM file with --sign-key": (chain[0], None),
        "Give a PEM file with --sign-cert": (None, chain[1]),
        "No such file": (tmp_path / "nowhere.pem", chain[1]),
        "is no certificate": (text, chain[1]),
        "is no private key": (chain[0], text),
        "is not the key of the certificate": (chain[0], other[1]),
        "Give a certificate that is valid today": make_chain(tmp_path / "old", days=-3),
        "must be one for signing content": make_chain(tmp_path / "purpose", purpose=False),
        "of a kind that C2PA does not use": make_chain(tmp_path / "curve", "k1"),
    }
    for words, (certificate, key) in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            export(drawn, ExportConfig(sign=True, sign_cert=certificate, sign_key=key), tmp_path / "out", Run.silent())
        assert "\n" not in str(caught.value) and not (tmp_path / "out").exists(), words
    with pytest.raises(InputError, match="has no images to sign"):
        export(drawn, ExportConfig(layout="table", sign=True, sign_cert=chain[0], sign_key=chain[1]), tmp_path / "out", Run.silent())


def test_without_the_library_one_line_says_what_to_install(
    drawn: Collection, chain: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "c2pa":
            raise ImportError(name)
        return whole(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r"Install it with: pip install 'syntype\[c2pa\]'"):
        signed(drawn, tmp_path / "out", chain)


def test_the_command_signs_with_files_from_the_environment(
    drawn: Collection, chain: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNTYPE_SIGN_CERT", str(chain[0]))
    monkeypatch.setenv("SYNTYPE_SIGN_KEY", str(chain[1]))
    assert main(["export", str(drawn.root), "--out", str(tmp_path / "plain"), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["num_signed"] == 0, "nothing is signed unasked"
    assert main(["export", str(drawn.root), "--sign", "--out", str(tmp_path / "out"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["num_signed"] == 3
    assert "1 synthetic image is not signed: drawn by another program" in told.err and "no credentials" in told.err
    assert main(["export", str(drawn.root), "--sign-cert", str(chain[0]), "--out", str(tmp_path / "none")]) == 2
    assert "add --sign" in capsys.readouterr().err and not (tmp_path / "none").exists()
