"""Pre-trained bases: found on the disk or the hub, with their licences and checksums, or refused in one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects

from syntype.errors import CollectionError, InputError, UnsupportedError
from syntype.generators.pretrained import bases
from syntype.generators.pretrained.bases import DEFAULT_BASE, KNOWN_BASES, PIPELINES, check_same_base, describe_base, resolve_base

COMMIT = "0123456789abcdef0123456789abcdef01234567"
USED = {
    "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json", "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/chat_template.jinja",
    "scheduler/scheduler_config.json",
}  # fmt: skip
UNUSED = {
    "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.non_ema.safetensors",
    "text_encoder/flax_model.msgpack", "safety_checker/config.json", "safety_checker/model.safetensors", "whole.safetensors", "vae_1_0/config.json",
}  # fmt: skip


def make_base(folder: Path, readme: str | None = None) -> Path:
    """A base of small files that nothing but checksums can be computed of."""
    index = {"_class_name": "StableDiffusionXLPipeline", "safety_checker": ["x", "y"], "text_encoder_2": [None, None]}
    index |= {part: ["library", "Class"] for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}
    for name in USED | UNUSED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith(".json") else name)
    (folder / "model_index.json").write_text(json.dumps(index))
    if readme is not None:
        (folder / "README.md").write_text(readme)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base", "---\nlicense: apache-2.0\nlicense_link: https://example.org/text\n---\n# A model\n")


def test_a_folder_is_a_base_with_the_files_that_are_used(folder: Path) -> None:
    base = resolve_base(str(folder))
    assert (base.kind, base.pipeline, base.revision, base.folder) == ("unet", "StableDiffusionXLPipeline", None, folder)
    assert base.parts == ("unet", "vae", "text_encoder", "tokenizer", "scheduler") and set(base.configs) == {"unet", "vae", "text_encoder"}
    assert set(base.files) == USED
    for name, digest in base.files.items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_fingerprint_is_that_of_the_used_files_wherever_they_are(folder: Path, tmp_path: Path) -> None:
    base = resolve_base(str(folder))
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (moved / "whole.safetensors").write_text("other")
    again = resolve_base(str(moved))
    assert again.fingerprint == base.fingerprint
    check_same_base(again, base.fingerprint)
    (moved / "vae" / "diffusion_pytorch_model.safetensors").write_text("other")
    with pytest.raises(CollectionError, match=r"elsewhere: is another base than the one that the generator was trained on .* Give the same model"):
        check_same_base(resolve_base(str(moved)), base.fingerprint)


@pytest.mark.parametrize(
    ("readme", "file", "licence", "url"),
    [
        ("---\nlicense: apache-2.0\nlicense_link: https://example.org/text\n---\n", "LICENSE", "apache-2.0", "https://example.org/text"),
        ("---\nlicense: other\nlicense_name: flux-non-commercial\nlicense_link: LICENSE.md\n---\n", None, "flux-non-commercial", None),
        ("# No head\n", "LICENCE.txt", "see the file LICENCE.txt", None),
        ("---\nlicense: [\n---\n", None, None, None),
        (None, None, None, None),
    ],
)
def test_the_licence_is_read_or_said_to_be_unknown(
    readme: str | None, file: str | None, licence: str | None, url: str | None, tmp_path: Path
) -> None:
    folder = make_base(tmp_path / "base", readme)
    if file:
        (folder / file).write_text("text")
    base = resolve_base(str(folder))
    assert (base.licence, base.licence_url) == (licence, url)
    assert (licence or "unknown") in base.licence_words and base.notice == f"{licence or 'unknown licence'} (weights of {folder})"
    assert base.record() | {"name": str(folder), "fingerprint": base.fingerprint} == base.record()


def spoil_pipeline(folder: Path) -> None:
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')


def spoil_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def remove_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def remove_part(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def remove_tokenizer(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")


def keep_others(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (spoil_pipeline, UnsupportedError, "is a FluxPipeline, which cannot be trained here. Choose a base of StableDiffusionPipeline"),
        (spoil_index, InputError, "is damaged"),
        (remove_index, InputError, "holds no model_index.json. Give a folder in the layout of the library diffusers"),
        (remove_part, InputError, "vae/config.json: is missing|the part vae"),
        (remove_tokenizer, InputError, "the part tokenizer is missing"),
        (keep_others, UnsupportedError, "holds weights only as diffusion_pytorch_model.bin, .*load the pipeline with diffusers and save it"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(spoil: Any, error: type[Exception], words: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(error, match=words) as raised:
        resolve_base(str(folder))
    assert "\n" not in str(raised.value)


def test_what_is_neither_folder_nor_name_is_told_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"neither a folder nor a name on the hub .*FLUX\.2-klein-base-4B"):
        resolve_base("no/such/folder")


def test_checksums_of_large_files_are_computed_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(bases, "_WORTH_KEEPING", 30)  # the names of the weights are their content
    first = resolve_base(str(folder)).files
    read: list[str] = []
    monkeypatch.setattr(bases, "sha256_of", lambda path: read.append(path.name) or hashlib.sha256(path.read_bytes()).hexdigest())
    assert resolve_base(str(folder)).files == first
    assert read and not any(name.endswith(".safetensors") for name in read)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_text("u" * 50)
    assert resolve_base(str(folder)).files != first and "diffusion_pytorch_model.safetensors" in read


class Hub:
    """A hub of one model; what is asked of it is recorded."""

    def __init__(self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cache, self.error, self.asked = folder, cache, Exception(), 0
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=self.model_info))
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.hf_hub_download)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)

    def model_info(self, name: str, *, revision: str | None, timeout: float) -> Any:
        self.asked += 1
        if type(self.error) is not Exception:
            raise self.error
        return SimpleNamespace(sha=COMMIT)

    def hf_hub_download(self, name: str, file: str, *, revision: str | None, local_files_only: bool) -> str:
        return str(self.get([file], local_files_only) / file)

    def snapshot_download(self, name: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool) -> str:
        return str(self.get(allow_patterns, local_files_only))

    def get(self, patterns: list[str], local_files_only: bool) -> Path:
        place = self.cache / COMMIT
        if local_files_only:
            if not place.is_dir():
                raise errors.LocalEntryNotFoundError("nothing is kept")
            return place
        there = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        for name in filter_repo_objects(there, allow_patterns=patterns):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / name, place / name)
        return place


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(folder, tmp_path / "hub", monkeypatch)


def test_from_the_hub_only_what_is_used_is_downloaded(hub: Hub) -> None:
    base = resolve_base("someone/model")
    assert base.revision == COMMIT and base.licence == "apache-2.0" and set(base.files) == USED
    assert {path.relative_to(base.folder).as_posix() for path in base.folder.rglob("*") if path.is_file()} == {*USED, "README.md"}


def test_without_weights_a_model_on_the_hub_is_described_by_its_small_files(hub: Hub) -> None:
    about = describe_base("someone/model")
    assert about.kind == "unet" and about.licence == "apache-2.0" and set(about.configs) == {"unet", "vae", "text_encoder"}
    assert not list(hub.cache.rglob("*.safetensors"))


def test_a_pipeline_that_does_not_fit_is_refused_before_its_weights_are_downloaded(hub: Hub) -> None:
    spoil_pipeline(hub.folder)
    with pytest.raises(UnsupportedError, match="someone/model: is a FluxPipeline"):
        resolve_base("someone/model")
    assert [path.name for path in hub.cache.rglob("*") if path.is_file()] == ["model_index.json"]


def test_what_was_downloaded_serves_without_a_connection_and_a_commit_without_a_question(hub: Hub) -> None:
    first = resolve_base("someone/model")
    hub.error = ConnectionError("no address")
    assert resolve_base("someone/model").fingerprint == first.fingerprint
    hub.asked = 0
    assert resolve_base("someone/model", COMMIT).fingerprint == first.fingerprint and hub.asked == 0


def made(kind: type[BaseException]) -> BaseException:
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (made(errors.GatedRepoError), r"is gated: .*Accept its licence at https://huggingface.co/someone/model, then log in with: hf auth login"),
        (made(errors.RepositoryNotFoundError), "is not on the Hugging Face hub. Check the name"),
        (made(errors.RevisionNotFoundError), "has no version 'v9'"),
        (made(errors.RemoteEntryNotFoundError), "holds no model_index.json, so it is not in diffusers' layout"),
        (ConnectionError("no address"), r"cannot be downloaded .*no address.* Check the internet connection, or download the model elsewhere"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(error: Exception, words: str, hub: Hub) -> None:
    hub.error = error
    with pytest.raises(InputError, match=words) as raised:
        resolve_base("someone/model", "v9")
    assert str(raised.value).startswith("someone/model: ") and "\n" not in str(raised.value)


def test_known_bases_are_described_as_published_without_the_hub(hub: Hub) -> None:
    for name, known in KNOWN_BASES.items():
        about = describe_base(name)
        assert (about.kind, about.pipeline, about.licence) == (PIPELINES[known.pipeline], known.pipeline, known.licence)
        assert {"vae", "text_encoder", "unet" if known.kind == "unet" else "transformer"} <= set(about.configs)
        assert known.licence_url.startswith("https://")
    assert DEFAULT_BASE in KNOWN_BASES and hub.asked == 0
