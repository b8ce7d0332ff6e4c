"""The guide `docs/how-to/with-a-gpu.md`: its commands run, one after another, on a tiny base; its table says what the estimate says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made import make_collection
from safetensors.torch import load_file
from torch.testing import assert_close

from syntype.apps.cli import main
from syntype.generators import TrainConfig
from syntype.generators.families.lora import LoRA, LoRAConfig
from syntype.generators.pretrained.bases import DEFAULT_BASE, KNOWN_BASES, describe_base
from syntype.generators.pretrained.estimate import estimate
from syntype.generators.pretrained.text_to_image import adapted_by

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "with-a-gpu.md").read_text(encoding="utf-8")
SMALLER = {"2000": "2", "100": "3", "5": "2", "'Neoglyphidodon nigroris'": "'Aus rarus'"}
"""Values of the guide, and those that take seconds."""
QUICK = "--quick --device cpu --set size=32 --set fill_to=8 --set num_bootstrap=200 --set classifier.steps=3 --set classifier.batch_size=8"


def commands(program: str = "syntype") -> list[str]:
    """The guide's commands that begin with this program, in order."""
    return [line.strip() for line in GUIDE.splitlines() if re.match(rf" {{4,}}{program} ", line)]


def words_of(command: str, base: Path) -> list[str]:
    """A command of the guide with values that take seconds, and training on a tiny base."""
    words = [SMALLER.get(word, word) for word in shlex.split(re.sub("'.*?'", lambda found: SMALLER[found[0]], command))]
    if "train" in words:
        words += ["--set", f"model.base={base}", *shlex.split("--set model.base_precision=fp32 --size 32 --device cpu")]
        words += shlex.split("--set model.rank=2 --set model.sampling_steps=2")
    return words


def test_the_commands_lead_from_photographs_to_a_verdict(
    tiny_base: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    made = make_collection(tmp_path / "made", {"Aus primus": 10, "Aus secundus": 10, "Aus rarus": 6}, size=32)
    for row, species in enumerate(made.table["species"]):
        folder = tmp_path / "photographs" / species
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}.png").write_bytes(made.path(row).read_bytes())
    done = []
    for command in commands():
        words = words_of(command, tiny_base("stable_diffusion"))
        words += shlex.split(QUICK) if words[1] == "study" else []
        assert main(words[1:]) == 0, (command, capsys.readouterr().err)
        told = capsys.readouterr()
        if "--dry-run" in words:
            assert "licence_of_base" in told.out and not (tmp_path / "out" / "generator").exists()
        done.append(words[1])
    assert done == ["collect", "inspect", "train", "train", "generate", "curate", "study", "export"]
    report = (tmp_path / "out" / "study" / "report.html").read_text(encoding="utf-8")
    assert "pre-trained model" in report and "licence of its weights" in report


@pytest.mark.slow
def test_the_command_for_two_cards_trains_as_that_for_one(
    tiny_base: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    make_collection(tmp_path / "out" / "fish", {"Aus primus": 6, "Aus secundus": 6}, split="train")
    base = tiny_base("flux2_klein")
    one = next(command for command in commands() if command.startswith("syntype train") and "--dry-run" not in command)
    assert main([*words_of(one, base)[1:], "--set", "precision=fp32"]) == 0, capsys.readouterr().err
    first = (tmp_path / "out" / "generator").rename(tmp_path / "one")
    (two,) = commands("torchrun")
    assert two.endswith(one)
    bin_ = Path(sys.executable).parent
    words = [str(bin_ / word) if word in ("torchrun", "syntype") else word for word in words_of(two, base)]
    done = subprocess.run(
        [*words, "--set", "precision=fp32"], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    weights, expected = (load_file(folder / "weights.safetensors") for folder in (tmp_path / "out" / "generator", first))
    assert_close(weights, expected, atol=1e-5, rtol=1e-3)


# Published: the papers of Stable Diffusion and SDXL (table 1: U-Nets of 860 M and 2.6 B); the sizes of the files on the hub at two bytes a parameter.
PUBLISHED = {
    DEFAULT_BASE: {"transformer": 7.75e9 / 2, "text_encoder": 8.05e9 / 2, "vae": 168e6 / 2},
    "stabilityai/stable-diffusion-xl-base-1.0": {
        "unet": 2_567_463_684, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840, "vae": 83_653_863,
    },
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {"unet": 859_520_964, "text_encoder": 123_060_480, "vae": 83_653_863},
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_of_bases_says_what_the_estimate_says_and_parameters_are_as_many_as_published(name: str) -> None:
    pytest.importorskip("transformers")
    known = KNOWN_BASES[name]
    need = estimate(describe_base(name), adapted=adapted_by(known.pipeline), rank=16, shape=(512, 512), images_at_once=1, gradient_checkpointing=True)
    assert need.parameters == pytest.approx(PUBLISHED[name], rel=2e-3)
    weights = 2 * sum(PUBLISHED[name].values()) / 2**30
    assert weights + 1 < need.sampling_gb < weights + 3 and need.sampling_gb < need.training_gb == need.least_gb < need.sampling_gb + 1
    denoiser = need.parameters["unet" if known.kind == "unet" else "transformer"] / 1e6
    sizes = [f"{denoiser:,.0f} million", f"{need.adapter_mb:.0f} MB", f"{need.training_gb:.1f}", f"{need.sampling_gb:.1f}", f"{need.offload_gb:.1f}"]
    for other in (known, *(base for base in KNOWN_BASES.values() if describe_base(base.name).configs == describe_base(name).configs)):
        row = next(line for line in GUIDE.splitlines() if line.startswith(f"| `{other.name}`"))
        told = [f"[{other.licence}]({other.licence_url})", "yes" if other.gated else "no", f"{other.size} px"]
        assert [cell.strip() for cell in row.strip("|").split("|")][1:] == told + sizes


def test_by_default_the_default_base_can_be_trained_on_24_gb() -> None:
    pytest.importorskip("transformers")
    batch_size = TrainConfig.model_fields["batch_size"].default
    told = LoRA.plan(LoRAConfig(), batch_size)
    assert told["card"].startswith("to train, a card of 24 GB or more") and told["base"] == DEFAULT_BASE and "with_less_memory" not in told
    assert LoRA.plan(LoRAConfig(images_at_once=None), batch_size)["gb_to_train"] > 24


def test_the_guide_has_a_row_for_every_known_base() -> None:
    assert re.findall(r"^\| `(\S+/\S+)`", GUIDE, re.MULTILINE) == list(KNOWN_BASES)
