"""Bases: text-to-image models that were trained elsewhere, found on the disk or on the Hugging Face hub, with their licences and checksums.

A base is a folder in the layout of the library diffusers: ``model_index.json`` names the pipeline and its parts, and each part (``unet`` or
``transformer``, ``vae``, ``text_encoder``, …) has a folder with ``config.json`` and weights. Only safetensors are read, as a pickle could run code.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from syntype.errors import CollectionError, InputError, UnsupportedError, UserError, shortened, shown_list
from syntype.files import disk_problem, load_json, read_json_object, sha256_of, write_json
from syntype.run import Progress

__all__ = [
    "DEFAULT_BASE",
    "HUB_NAME",
    "KNOWN_BASES",
    "PARTS",
    "PIPELINES",
    "Base",
    "Description",
    "KnownBase",
    "check_same_base",
    "describe_base",
    "licence_beside",
    "resolve_base",
]

DEFAULT_BASE = "black-forest-labs/FLUX.2-klein-base-4B"

PIPELINES = {"StableDiffusionPipeline": "unet", "StableDiffusionXLPipeline": "unet", "Flux2KleinPipeline": "flow"}
"""The kind of base of each pipeline of diffusers that can be trained: ``unet`` predicts noise, ``flow`` the velocity of a rectified flow."""

PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
"""Folders of a base that are used, in the order of ``Base.files``. Others, such as ``safety_checker``, are neither downloaded nor read."""
_WEIGHTED = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2")
_WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(-\d{5}-of-\d{5})?\.safetensors$")
"""Weights of the plain variant; ``model.fp16.safetensors`` is another one, which is not read."""
_SMALL = (".json", ".txt", ".model", ".jinja")
"""Endings of configurations and of a tokenizer's files."""
_PIECES = ".safetensors.index.json"
"""Ending of the list of the files of weights that are in several."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
"""OWNER/NAME, as the Hugging Face hub names a model."""
_COMMIT = re.compile("[0-9a-f]{40}$")
_AGAIN = "Copy or download the folder again."
_WORTH_KEEPING = 64 * 2**20
"""Bytes. Checksums of files from this size on are kept in the user's cache folder; those of smaller ones are computed in a moment."""
_LONG = 2**30
"""Bytes whose checksums take so long that progress is shown."""
_PATIENCE = 10.0
"""Seconds in which the hub must answer."""


@dataclass(frozen=True)
class KnownBase:
    """A base on the hub that is known to fit.

    Attributes:
        name: on the hub.
        kind: ``unet`` or ``flow``.
        pipeline: class in diffusers.
        licence: SPDX name, or the licence's own.
        licence_url: its text.
        gated: whether the hub gives it only to those who accepted its licence.
        size: side in pixels of the images that it was made for.
        note: what else to know, as a clause; may be empty.
    """

    name: str
    kind: str
    pipeline: str
    licence: str
    licence_url: str
    gated: bool
    size: int
    note: str = ""


_APACHE = ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")

KNOWN_BASES: dict[str, KnownBase] = {
    base.name: base
    for base in (
        KnownBase(DEFAULT_BASE, "flow", "Flux2KleinPipeline", *_APACHE, False, 1024),
        KnownBase(
            "black-forest-labs/FLUX.2-klein-4B",
            "flow",
            "Flux2KleinPipeline",
            *_APACHE,
            False,
            1024,
            "distilled to few steps: quick to sample, meant for use as it is rather than for training",
        ),
        KnownBase(
            "stabilityai/stable-diffusion-xl-base-1.0",
            "unet",
            "StableDiffusionXLPipeline",
            "CreativeML Open RAIL++-M",
            "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
            False,
            1024,
        ),
        KnownBase(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "unet",
            "StableDiffusionPipeline",
            "CreativeML OpenRAIL-M",
            "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
            False,
            512,
        ),
    )
}
"""Bases that are known to fit, by their names on the hub."""


@dataclass(frozen=True)
class Description:
    """What is known of a base without its weights.

    Attributes:
        name: on the hub, or the folder as it was given.
        kind: ``unet`` or ``flow``; see ``PIPELINES``.
        pipeline: class in diffusers.
        licence: of the weights; None if nothing says it.
        licence_url: its text; None if not known.
        configs: content of the ``config.json`` of each part that has weights, by the part's name.
    """

    name: str
    kind: str
    pipeline: str
    licence: str | None
    licence_url: str | None
    configs: Mapping[str, Mapping[str, Any]]

    @property
    def licence_words(self) -> str:
        """The licence and where its text is, or that it is unknown."""
        if self.licence is None:
            return "unknown: neither README.md nor a LICENSE file says it; find out before you use the images"
        return self.licence + (f" ({self.licence_url})" if self.licence_url else "")

    @property
    def notice(self) -> str:
        """The licence of the weights as it stands beside the licences of photographs, such as ``Apache-2.0 (weights of OWNER/NAME)``."""
        return f"{self.licence or 'unknown licence'} (weights of {self.name})"


@dataclass(frozen=True)
class Base(Description):
    """A base on the disk.

    Attributes:
        folder: where it is.
        revision: commit on the hub; None for a folder.
        parts: names of the parts that are used, such as ``unet`` and ``tokenizer``.
    """

    folder: Path
    revision: str | None
    parts: tuple[str, ...]

    @cached_property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file that is used, by its path in the folder. Computed at first use (8 GB take about half a minute), then kept in the
        user's cache folder for as long as size and date of a file stay the same."""
        return _checksums({path.relative_to(self.folder).as_posix(): path for path in _used_files(self.folder, self.parts)})

    @cached_property
    def fingerprint(self) -> str:
        """One SHA-256 over ``files``: two bases with the same one are the same, whatever their names and wherever they are."""
        return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in sorted(self.files.items())).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """What a generator's record says of its base: name, revision, pipeline, licence and ``fingerprint``."""
        told = {key: getattr(self, key) for key in ("name", "revision", "pipeline", "licence", "licence_url", "fingerprint")}
        return {key: value for key, value in told.items() if value is not None}


def describe_base(name: str, revision: str | None = None) -> Description:
    """What a base is, without its weights: of ``KNOWN_BASES`` as published, of a folder from its files; of another model on the hub only its small
    files are downloaded.

    Raises:
        InputError, UnsupportedError: as ``resolve_base``.
    """
    if name in KNOWN_BASES and not Path(name).expanduser().is_dir():
        known = KNOWN_BASES[name]
        return Description(name, known.kind, known.pipeline, known.licence, known.licence_url, _published()[name])
    folder, _ = _find(name, revision, weights=False)
    pipeline, parts = _pipeline(folder / "model_index.json", name)
    return Description(name, PIPELINES[pipeline], pipeline, *licence_beside(folder, name), _configs(folder, parts))


def resolve_base(name: str, revision: str | None = None) -> Base:
    """Find a base on the disk or on the Hugging Face hub, from where only the files that are used are downloaded, once.

    Args:
        name: a folder in diffusers' layout, or a name on the hub such as ``black-forest-labs/FLUX.2-klein-base-4B``.
        revision: branch, tag or commit on the hub; default: the newest version.

    Raises:
        InputError: there is no such folder or model, it is gated, the hub does not answer, or a file is missing or damaged.
        UnsupportedError: its pipeline cannot be trained, or its weights are pickles or of another variant only.
    """
    folder, commit = _find(name, revision, weights=True)
    pipeline, parts = _pipeline(folder / "model_index.json", name)
    _used_files(folder, parts)
    return Base(name, PIPELINES[pipeline], pipeline, *licence_beside(folder, name), _configs(folder, parts), folder, commit, parts)


def check_same_base(base: Base, fingerprint: str) -> None:
    """Raise ``CollectionError`` if a base is not the one with this fingerprint, on which adapters were trained."""
    if base.fingerprint != fingerprint:
        raise CollectionError(
            f"{base.name}: is another base than the one that the generator was trained on "
            f"(fingerprint {base.fingerprint[:12]}, not {fingerprint[:12]}). Give the same model in the same version, or train again."
        )


def _find(name: str, revision: str | None, *, weights: bool) -> tuple[Path, str | None]:
    """The folder of a base, and its commit on the hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve(), None
    if not HUB_NAME.match(name):
        hint = "Give a folder that holds model_index.json, or a name on the Hugging Face hub: " + shown_list(KNOWN_BASES) + "."
        raise InputError("is neither a folder nor a name on the hub (OWNER/NAME)", hint, file=name)
    found = _download(name, revision, weights=weights)
    return found, found.name if _COMMIT.match(found.name) else revision


def _pipeline(index: Path, name: str) -> tuple[str, tuple[str, ...]]:
    """The class named in ``model_index.json``, and the parts that are used."""
    if not index.is_file():
        hint = "Give a folder in the layout of the library diffusers, as pipeline.save_pretrained(FOLDER) writes it."
        raise InputError("holds no model_index.json", hint, file=name)
    content = load_json(index, _AGAIN, {"_class_name": str})
    pipeline = str(content["_class_name"])
    if pipeline not in PIPELINES:
        raise UnsupportedError(
            f"{name}: is a {shortened(pipeline)}, which cannot be trained here. Choose a base of {shown_list(PIPELINES)}: {shown_list(KNOWN_BASES)}."
        )
    return pipeline, tuple(part for part in PARTS if isinstance(content.get(part), list) and content[part] and content[part][0])


def _configs(folder: Path, parts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return {part: load_json(folder / part / "config.json", _AGAIN, {}) for part in parts if part in _WEIGHTED}


@cache
def _published() -> dict[str, dict[str, dict[str, Any]]]:
    """The configurations of ``KNOWN_BASES`` as published, by name and part."""
    read: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))
    return {name: {part: read["parts"][key] for part, key in parts.items()} for name, parts in read["bases"].items()}


def licence_beside(folder: Path, name: str) -> tuple[str | None, str | None]:
    """The licence and the address of its text: of a known base, or by the head of ``README.md``, or else the name of a licence file."""
    if name in KNOWN_BASES:
        return KNOWN_BASES[name].licence, KNOWN_BASES[name].licence_url
    try:
        readme = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        readme = ""
    if found := re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", readme, re.DOTALL):
        try:
            head = yaml.safe_load(found[1])
        except yaml.YAMLError:
            head = None
        if isinstance(head, dict) and isinstance(head.get("license"), str):
            named = head.get("license_name") if head["license"] == "other" else None
            link = head.get("license_link")
            return str(named or head["license"]), link if isinstance(link, str) and link.startswith("http") else None
    files = sorted(path.name for path in folder.iterdir() if re.match(r"licen[cs]e", path.name, re.IGNORECASE))
    return (f"see the file {files[0]}", None) if files else (None, None)


def _used_files(folder: Path, parts: tuple[str, ...]) -> list[Path]:
    """``model_index.json``, the configurations and the weights.

    Raises:
        InputError: a part has no configuration or no weights.
        UnsupportedError: its weights are pickles or of another variant only.
    """
    files = [folder / "model_index.json"]
    for part in parts:
        place = folder / part
        inside = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []
        used = [path for path in inside if path.suffix in _SMALL or _WEIGHTS.match(path.name)]
        if part in _WEIGHTED and not any(_WEIGHTS.match(path.name) for path in used):
            others = [path.name for path in inside if path.suffix in (".safetensors", ".bin", ".pt", ".ckpt", ".msgpack")]
            if not others:
                raise InputError(f"the part {part} has no weights", _AGAIN, file=folder)
            raise UnsupportedError(
                f"{place}: holds weights only as {shown_list(others, 3)}. Needed is model.safetensors or diffusion_pytorch_model.safetensors; "
                "load the pipeline with diffusers and save it with save_pretrained(FOLDER)."
            )
        if not used:
            raise InputError(f"the part {part} is missing", _AGAIN, file=folder)
        pieces = {str(name) for path in used if path.name.endswith(_PIECES) for name in load_json(path, _AGAIN, {}).get("weight_map", {}).values()}
        if lacking := pieces - {path.name for path in used}:
            raise InputError(f"the part {part} lacks {shown_list(sorted(lacking), 3)}", _AGAIN, file=folder)
        files += used
    return files


def _download(name: str, revision: str | None, *, weights: bool) -> Path:
    """Download what is used of a model on the hub, unless it is in the hub's cache; returns its folder there."""
    import huggingface_hub
    from huggingface_hub import errors

    def fetch(version: str | None, offline: bool) -> Path:
        # The small file first: a pipeline that does not fit is refused before gigabytes are downloaded.
        _pipeline(Path(huggingface_hub.hf_hub_download(name, "model_index.json", revision=version, local_files_only=offline)), name)
        return Path(huggingface_hub.snapshot_download(name, revision=version, allow_patterns=_patterns(weights), local_files_only=offline))

    def kept() -> Path | None:
        try:
            folder = fetch(revision, True)
            if weights:  # a download may have been interrupted, or have been one without weights
                _used_files(folder, _pipeline(folder / "model_index.json", name)[1])
            return folder
        except (errors.EntryNotFoundError, errors.RevisionNotFoundError, InputError):
            return None

    if revision and _COMMIT.match(revision) and (folder := kept()):
        return folder  # a commit does not change: no need to ask
    try:
        commit = huggingface_hub.HfApi().model_info(name, revision=revision, timeout=_PATIENCE).sha
        return fetch(commit, False)
    except errors.GatedRepoError:
        hint = f"Accept its licence at https://huggingface.co/{name}, then log in with: hf auth login"
        raise InputError("is gated: the hub gives it only to those who accepted its licence", hint, file=name) from None
    except errors.RepositoryNotFoundError:
        hint = "Check the name; for a private model log in with: hf auth login"
        raise InputError("is not on the Hugging Face hub", hint, file=name) from None
    except errors.RevisionNotFoundError:
        hint = f"Look at https://huggingface.co/{name}/commits/main for those that it has."
        raise InputError(f"has no version {shortened(str(revision))!r}", hint, file=name) from None
    except errors.RemoteEntryNotFoundError:
        hint = "Choose a model whose files list shows model_index.json, or one of: " + shown_list(KNOWN_BASES) + "."
        raise InputError("holds no model_index.json, so it is not in diffusers' layout", hint, file=name) from None
    except UserError:
        raise
    except Exception as error:  # without a connection each version of the hub's client raises something else
        if (problem := disk_problem(error, name)) is not None:
            raise problem from None
        if (folder := kept()) is not None:
            return folder
        reason = f"cannot be downloaded from the Hugging Face hub ({type(error).__name__}: {shortened(str(error), 120)})"
        hint = "Check the internet connection, or download the model elsewhere and give its folder."
        raise InputError(reason, hint, file=name) from None


def _patterns(weights: bool) -> list[str]:
    """What to download: configurations, tokenizers, the card for the licence, and the plain variant of the weights as safetensors."""
    small = [f"{part}/*{ending}" for part in PARTS for ending in _SMALL]
    large = [f"{part}/{stem}{more}.safetensors" for part in _WEIGHTED for stem in ("diffusion_pytorch_model", "model") for more in ("", "-*-of-*")]
    return ["model_index.json", "README.md", "LICENSE*", *small, *(large if weights else [])]


def _checksums(files: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of each file, those of large ones from the user's cache folder if their sizes and dates are the same."""
    kept = _cache_folder() / "checksums.json"
    table, digests, new = read_json_object(kept), dict[str, str](), dict[str, str]()
    to_read: list[tuple[str, Path, str]] = []
    for name, path in files.items():
        about = path.stat()
        state = f"{path.resolve()}|{about.st_size}|{about.st_mtime_ns}"
        if about.st_size >= _WORTH_KEEPING and isinstance(table.get(state), str):
            digests[name] = table[state]
        else:
            to_read.append((name, path, state))
    total = sum(path.stat().st_size for _, path, _ in to_read)
    bar = Progress("Computing checksums of the base", total, quiet=total < _LONG)
    for name, path, state in to_read:
        digests[name] = sha256_of(path)
        bar.advance(path.stat().st_size)
        if path.stat().st_size >= _WORTH_KEEPING:
            new[state] = digests[name]
    bar.close()
    if new:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {**read_json_object(kept), **new})
        except (OSError, InputError):  # it only saves time
            pass
    return {name: digests[name] for name in files}


def _cache_folder() -> Path:
    """Where checksums are kept: ``XDG_CACHE_HOME`` if it is set, as for other programs, or ``.cache`` in the user's folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "syntype"
