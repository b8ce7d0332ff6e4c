"""Several processes train as one does: the same images and random numbers, the same losses but for rounding, one writer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from syntype.cluster import RESUME
from syntype.collection import Collection
from syntype.compute.processes import WholeBatchRandom, synchronise_batch_norm
from syntype.compute.runtime import Runtime
from syntype.errors import InputError
from syntype.generators import family, load_generator
from syntype.generators.engine.batches import BatchSampler, training_data
from syntype.run import read_events

BIN = Path(sys.executable).parent
GRADIENT_TOLERANCE = 1e-4
"""Of all gradients of the first step, relative to their length (6e-6 was seen): numbers of 32 bits are added up in another order, no more."""
TOLERANCE = 0.01
"""Of every figure in the progress log over 20 steps (0.007 was seen): Adam's first steps are of one size however small the gradient, so where it
is nearly zero rounding decides their sign, and the two networks' game passes that on."""


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_end_to_end_are_the_batch_of_one_process(world: int, small_collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime("cpu", "fp32")
    sampler = BatchSampler(training_data(small_collection.training(), 32), 0.5)
    monkeypatch.setattr(Runtime, "world_size", world)
    for step in range(20):
        rows, shares = sampler.indices(0, step, 8), []
        for rank in range(world):
            monkeypatch.setattr(Runtime, "rank", rank)
            shares.append(runtime.local_share(rows))
        assert all(len(share) == 8 // world for share in shares)
        np.testing.assert_array_equal(np.concatenate(shares), rows)


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime("cpu", "fp32")
    monkeypatch.setattr(Runtime, "world_size", 3)
    with pytest.raises(InputError, match="multiple of 6"):
        runtime.local_share(np.arange(8))


def test_random_numbers_of_a_share_are_those_of_the_whole_batch() -> None:
    def drawn(count: int) -> list[torch.Tensor]:
        torch.manual_seed(3)
        return [torch.rand(count, 1, 1, 1), torch.randn((count, 5)), torch.randint(0, 9, (2,)), torch.rand(count, 2)]

    whole = drawn(8)
    shares = []
    for rank in range(2):
        with WholeBatchRandom(4, rank, 2):
            shares.append(drawn(4))
    for one, first, second in zip(whole, *shares, strict=True):
        assert_close(torch.cat([first, second]) if len(one) == 8 else first, one, rtol=0, atol=0)


def _normalise_a_share(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    images, weights = torch.randn(8, 3, 4, 4) * 2 + 5, torch.randn(8, 3, 4, 4)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Tanh(), torch.nn.BatchNorm2d(3, affine=False))
    synchronise_batch_norm(model, 2)
    mine = slice(4 * rank, 4 * rank + 4)
    share = images[mine].contiguous(memory_format=torch.channels_last).requires_grad_()
    result = model(share)
    # what each image does to the loss of the other process comes back through the statistics
    (gradient,) = torch.autograd.grad((result * weights[mine]).sum(), share)
    torch.save([result.detach(), gradient, model.state_dict()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_batch_normalisation_over_two_processes_is_that_over_the_whole_batch(tmp_path: Path) -> None:
    start = "forkserver" if sys.platform == "linux" else "spawn"  # torch is imported once, by the process that both are copied from
    torch.multiprocessing.get_context(start).set_forkserver_preload(["syntype.study.running", "timm"])
    torch.multiprocessing.start_processes(_normalise_a_share, (str(tmp_path),), nprocs=2, start_method=start)
    torch.manual_seed(0)
    images, weights = (torch.randn(8, 3, 4, 4) * 2 + 5).requires_grad_(), torch.randn(8, 3, 4, 4)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Tanh(), torch.nn.BatchNorm2d(3, affine=False))
    result = model(images)
    (gradient,) = torch.autograd.grad((result * weights).sum(), images)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert_close(torch.cat([first[0], second[0]]), result.detach())
    assert_close(torch.cat([first[1], second[1]]), gradient, rtol=1e-4, atol=1e-5)
    for one in (first[2], second[2]):
        assert_close(one, model.state_dict())


def command(collection: Path, out: Path, *more: object) -> list[str]:
    model = family("projected").Config.tiny(32).model_dump(exclude={"size"})
    words: list[object] = ["train", "projected", collection, "--out", out, "--size", 32, "--device", "cpu", "--json", *more]
    values = {"batch_size": 8, "precision": "fp32", "preview_every": 1000, **{f"model.{key}": value for key, value in model.items()}}
    return [str(word) for word in words] + [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def launch(processes: int, words: list[str]) -> subprocess.Popen[str]:
    launcher = [str(BIN / "torchrun"), "--standalone", "--nproc_per_node", str(processes), "--no-python"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, str(BIN / "syntype"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def run(processes: int, words: list[str]) -> dict[str, object]:
    """The one JSON object that the command prints, however many processes there are."""
    process = launch(processes, words)
    output, errors = process.communicate(timeout=800)
    assert process.returncode == 0, errors
    assert len(output.splitlines()) == 1
    result: dict[str, object] = json.loads(output)
    return result


@pytest.fixture
def group() -> Iterator[list[subprocess.Popen[str]]]:
    """Ends what a test has launched, with all that belongs to it."""
    launched: list[subprocess.Popen[str]] = []
    yield launched
    for process in launched:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def steps(folder: Path) -> dict[int, dict[str, float]]:
    events = [event for event in read_events(folder) if event["event"] == "step"]
    assert len({event["step"] for event in events}) == len(events), "a step was logged twice"
    return {event["step"]: {key: value for key, value in event.items() if isinstance(value, float) and "second" not in key} for event in events}


def gradients(folder: Path) -> torch.Tensor:
    """Of the last step, all in one vector: Adam keeps them, as its first moment forgets at once here (beta 0)."""
    state = torch.load(folder / "training" / "state.pt", weights_only=True)["training"]
    return torch.cat([entry["exp_avg"].flatten() for name in ("generator", "heads") for entry in state[name]["state"].values()])


@pytest.mark.slow
def test_two_processes_train_as_one_and_resume(small_collection: Collection, tmp_path: Path) -> None:
    first, one, two, parts = tmp_path / "first", tmp_path / "one", tmp_path / "two", tmp_path / "parts"
    run(1, command(small_collection.root, first, "--steps", 1))
    run(1, command(small_collection.root, one, "--steps", 20))
    result = run(2, command(small_collection.root, two, "--steps", 20))
    run(2, command(small_collection.root, parts, "--steps", 1))
    expected = gradients(first)
    assert (gradients(parts) - expected).norm() < GRADIENT_TOLERANCE * expected.norm()
    run(2, command(small_collection.root, parts, "--steps", 20, "--resume"))

    figures, found = steps(one), steps(two)
    assert list(figures) == list(found) == list(steps(parts)) == [1, 10, 20]
    for step in figures:
        assert_close(found[step], figures[step], rtol=TOLERANCE, atol=TOLERANCE)
    assert (parts / "weights.safetensors").read_bytes() == (two / "weights.safetensors").read_bytes()
    assert load_generator(two).trained_on == load_generator(one).trained_on

    assert result["steps"] == 20 and result["generator_id"] == json.loads((two / "generator.json").read_text())["generator_id"]
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    assert [path.name for path in (two / "training").iterdir()] == ["state.pt"] and len(list((two / "tensorboard").iterdir())) == 1
    assert len(json.loads((parts / "run.json").read_text())["sessions"]) == 2


def start_two(words: list[str]) -> list[subprocess.Popen[str]]:
    """Two processes of one training, without a launcher between them and us, as ``srun`` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "syntype.apps.cli", *words], env={**common, "RANK": rank, "LOCAL_RANK": rank}, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(2400)  # eleven starts, on a machine that does other things too
def test_two_processes_preempted_ten_times_give_the_same_weights(
    small_collection: Collection, tmp_path: Path, group: list[subprocess.Popen[str]]
) -> None:
    """A warning reaches one of the processes, at random, or both, at a random moment; they save, and end with the code that says "resume me"."""
    random, whole, parts = np.random.default_rng(0), tmp_path / "whole", tmp_path / "parts"
    length = 120
    words = command(small_collection.root, parts, "--steps", length, "--set", "checkpoint_minutes=100", "--resume")
    run(2, command(small_collection.root, whole, "--steps", length))
    preempted, reached = 0, [0]
    while True:
        events = len(read_events(parts))
        both = start_two(words)
        group += both
        deadline = time.monotonic() + 600
        while len(both) == 2 and preempted < 10 and all(one.poll() is None for one in both):
            assert time.monotonic() < deadline
            time.sleep(0.02)
            if len(read_events(parts)) > events:  # the first step, or the message that it continues
                time.sleep(random.random() * 3)
                for one in random.permutation(2)[: random.integers(1, 3)]:
                    for _ in range(random.integers(1, 3)):
                        both[one].send_signal([signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2][random.integers(3)])
                break
        errors = [one.communicate(timeout=600)[1] for one in both]
        codes = {one.returncode for one in both}
        if codes == {0}:
            break
        assert codes == {RESUME}, errors
        assert "continue with --resume" in errors[0]
        preempted += 1
        reached.append(torch.load(parts / "training" / "state.pt", weights_only=True)["step"])
        assert json.loads((parts / "run.json").read_text())["status"] == "preempted"
    assert preempted == 10 and reached == sorted(set(reached)) and reached[-1] < length
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert list(steps(parts)) == list(steps(whole))


@pytest.mark.slow
def test_a_process_that_dies_takes_the_other_with_it(small_collection: Collection, tmp_path: Path, group: list[subprocess.Popen[str]]) -> None:
    out = tmp_path / "out"
    process = launch(2, command(small_collection.root, out, "--steps", 100_000, "--set", "checkpoint_minutes=0.001"))
    group.append(process)
    deadline = time.monotonic() + 240
    while not (out / "training" / "state.pt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not tell which processes another has started")
    os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=90)
    assert process.returncode != 0 and "continue with --resume" in errors
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    run(1, command(small_collection.root, out, "--steps", max(steps(out)) + 1, "--resume"))
