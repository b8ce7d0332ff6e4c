"""Which synthetic images, used in training in which way, help a classifier with rare species? Many ways, compared on validation photographs.

    python benchmarks/search.py [--butterflies FOLDER] [--out FOLDER] [--networks NAME ...] [--routes NAME ...]

What is tried stands in search.yaml. Test photographs are not read. Two networks: a frozen EfficientNet-Lite2 with a linear head, and the same with
its last quarter trained. The first three quarters are frozen in both, so that their feature maps, of a few augmented views of every image, are
computed once; the rest is trained on these maps. What is measured is not measured again. Without the photographs nothing is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from common.butterflies import BUTTERFLIES, without_test
from common.results import Page, kept, options, publish, rewrite, table
from torch import Tensor, nn

from syntype.collection import Collection
from syntype.collection.importers import CollectConfig, collect
from syntype.compute.ema import MovingAverage, warmup_decay
from syntype.compute.tensors import to_tensor
from syntype.curation import CurateConfig, curate
from syntype.encoders import build_classifier_backbone
from syntype.generators import TrainConfig, load_generator, train
from syntype.identification import ClassifierConfig, LabelledImages
from syntype.identification.augment import augment
from syntype.identification.labelling import synthetic_images
from syntype.identification.loop import batches_of, learning_rate_factor, objective_of
from syntype.identification.mixing import cutmix, mixup
from syntype.run import Run
from syntype.study.statistics import species_recall
from syntype.study.synthetic import label_positions
from syntype.synthesis import GenerateConfig, generate

PROTOCOL = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
LEVELS = (94, 90)
"""Recall of the common species, %, at which the recall of the rare ones is compared."""
SHIFTS = np.linspace(-1.5, 1.5, 61)
BLOCKS = 5
"""Blocks of Lite2 that are frozen in both networks."""
LEARNING_RATE = 1e-3


class Rest(nn.Module):
    """The last blocks of Lite2, and a linear head. Kernels of depthwise convolutions are not trained: their gradient takes most of the time."""

    def __init__(self, num_species: int) -> None:
        super().__init__()
        network = build_classifier_backbone("lite2", 0).network.eval()
        self.body = nn.Sequential(network.blocks[BLOCKS:], network.conv_head, network.bn2)  # type: ignore[index, arg-type]
        self.head = nn.Linear(network.num_features, num_species)  # type: ignore[arg-type]
        self.mean, self.std = nn.Buffer(torch.zeros(self.head.in_features)), nn.Buffer(torch.ones(self.head.in_features))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.weight.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def features(self, maps: Tensor) -> Tensor:
        """Feature maps, float32, NCHW -> features, shape (N, D)."""
        found: Tensor = self.body(maps.contiguous(memory_format=torch.channels_last)).mean((2, 3))
        return found

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (or features, shape (N, D)) -> logits."""
        return self.head(((maps if maps.ndim == 2 else self.features(maps)) - self.mean) / self.std)


class Material:
    """Photographs, synthetic images, and what the frozen part of the network makes of them."""

    def __init__(self, source: Path, out: Path) -> None:
        self.source, self.out = source, out
        self.real = without_test(source, out / "photographs")
        self.species = self.real.species
        self.counts = np.array(list(self.real.training().counts().values()))
        self.rare = self.counts < PROTOCOL["rare_below"]

    def images(self, collection: Collection) -> LabelledImages:
        """Photographs with their labels."""
        return LabelledImages(np.asarray(collection.pixels(PROTOCOL["size"])), label_positions(collection, self.species))

    @cached_property
    def train(self) -> LabelledImages:
        """The training photographs."""
        return self.images(self.real.select(split="train"))

    @cached_property
    def val(self) -> LabelledImages:
        """The validation photographs."""
        return self.images(self.real.select(split="val"))

    @cached_property
    def more(self) -> LabelledImages:
        """The further photographs of the rare species."""
        folder = self.out / "more-photographs"
        if not (folder / "collection.json").exists():
            collect(self.source / "reserve.csv", CollectConfig(), folder)
        return self.images(Collection.open(folder))

    def synthetic(self, route: str) -> tuple[LabelledImages, np.ndarray]:
        """Images of a family that learns nothing, and which of them are accepted images of rare species (bool)."""
        trained, made, judged = (self.out / f"{route}-{what}" for what in ("generator", "images", "curated"))
        quiet = Run.silent()
        if not (trained / "weights.safetensors").exists():
            train(self.real, TrainConfig.parse({"family": route, "size": PROTOCOL["size"]}), trained, quiet)
        if not (made / "metadata.parquet").exists():
            generate(load_generator(trained), GenerateConfig(num=PROTOCOL["per_species"], seed=1), made, quiet)
        if not (judged / "metadata.parquet").exists():
            curate(Collection.open(made), self.real, CurateConfig(), judged, quiet)
        found = Collection.open(judged)
        images = synthetic_images(found, self.real.training(), PROTOCOL["size"], self.species)
        accepted = (found.table["verdict"].fillna("accepted") != "refused").to_numpy(bool)
        return images, accepted & self.rare[images.labels]

    def maps(self, name: str, images: np.ndarray, views: int) -> np.ndarray:
        """Feature maps of views of images: float16, shape (views, N, H, W, C), memory-mapped."""
        file = self.out / f"maps-{name}.npy"
        if not file.exists():
            backbone, config = build_classifier_backbone("lite2", 0), ClassifierConfig().augment
            network = backbone.network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            with torch.inference_mode():
                rows = [[self._frozen(network, backbone.normalise(view)) for view in viewed(images[at : at + 64], at, views, config)]
                        for at in range(0, len(images), 64)]  # fmt: skip
            np.save(file, np.stack([np.concatenate(part) for part in zip(*rows, strict=True)]))
        return np.load(file, mmap_mode="r")

    def features(self, name: str, maps: np.ndarray) -> np.ndarray:
        """Features that the network as it is computes from feature maps: float16, shape (views, N, D)."""
        file, rest = self.out / f"features-{name}.npy", Rest(len(self.counts))
        if not file.exists():
            with torch.inference_mode():
                parts = [[rest.features(nchw(view[at : at + 128])).half().numpy() for at in range(0, len(view), 128)] for view in maps]
            np.save(file, np.stack([np.concatenate(part) for part in parts]))
        return np.load(file)

    def _frozen(self, network: Any, images: Tensor) -> np.ndarray:
        found = network.bn1(network.conv_stem(images.contiguous(memory_format=torch.channels_last)))
        for block in network.blocks[:BLOCKS]:
            found = block(found)
        return found.half().permute(0, 2, 3, 1).numpy()


def viewed(images: np.ndarray, at: int, views: int, config: Any) -> list[Tensor]:
    """Views of images: themselves, their mirror images, and augmented ones, in [-1, 1]."""
    plain = to_tensor(images)
    uniform = [
        torch.from_numpy(np.random.default_rng([view, at]).random((len(images), config.num_uniform), dtype=np.float32)) for view in range(views)
    ]
    return [plain, plain.flip(3), *(augment(plain, uniform[view], config) for view in range(2, views))][:views]


def fit(images: LabelledImages, maps: np.ndarray | None, features: np.ndarray, counts: np.ndarray, config: ClassifierConfig, val: np.ndarray,
        seed: int) -> np.ndarray:  # fmt: skip
    """Logits of the validation photographs.

    Args:
        images: training photographs and synthetic images.
        maps: their feature maps, shape (views, N, H, W, C); None with ``tune`` "head".
        features: the same after the rest of the network as it is, shape (views, N, D).
        counts: number of training photographs of each species.
        config: settings; with ``tune`` "last" the head is fitted first and then all that is not frozen.
        val: feature maps of the validation photographs, shape (N, H, W, C).
        seed: of batches and mixing.
    """
    torch.manual_seed(seed)
    rest = Rest(len(counts))
    photographs = features[:, ~images.synthetic].astype(np.float32)
    rest.mean.copy_(torch.from_numpy(photographs.mean((0, 1))))
    rest.std.copy_(torch.from_numpy(photographs.std((0, 1)) + 1e-3))
    _train(rest, images, features, counts, config if maps is None else config.model_copy(update={"steps": 500, "batch_size": 64}), seed, whole=False)
    if maps is not None:
        _train(rest, images, maps, counts, config, seed, whole=True)
    with torch.inference_mode():
        return np.concatenate([rest(nchw(val[at : at + 128])).numpy() for at in range(0, len(val), 128)])


def _train(rest: Rest, images: LabelledImages, inputs: np.ndarray, counts: np.ndarray, config: ClassifierConfig, seed: int, *, whole: bool) -> None:
    trained = [parameter for parameter in (rest if whole else rest.head).parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=config.weight_decay)
    averaged, random = MovingAverage(rest), np.random.default_rng([seed, 2])
    objective = objective_of(images, counts, config, 1.0)
    batches = batches_of(images, config, config.steps, seed)
    for step, rows in enumerate(batches):
        chosen = inputs[random.integers(len(inputs), size=len(rows)), rows]
        x = torch.from_numpy(chosen).float() if chosen.ndim == 2 else nchw(chosen)
        targets = images.targets(rows, config)
        if config.mix != "none":
            other = torch.from_numpy(random.permutation(len(rows)))
            share = random.beta(1.0, 1.0, size=len(rows))
            if config.mix == "mixup" or x.ndim == 2:
                remaining = torch.from_numpy(share.astype(np.float32))
                x = mixup(x, x[other], remaining)
            else:
                share = np.where(random.random(len(rows)) < 0.5, share, 1.0)
                x, remaining = cutmix(x, x[other], share, random.random((len(rows), 2)))
            targets = targets.mixed_with(targets.rows(other), remaining)
        loss = objective(rest(x), targets, step / config.steps)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * learning_rate_factor(step, config.steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        averaged.update(warmup_decay(step, 0.99))
    rest.load_state_dict(averaged.average)


def nchw(maps: np.ndarray) -> Tensor:
    """Feature maps float16 NHWC -> float32 NCHW."""
    return torch.from_numpy(np.ascontiguousarray(maps)).float().permute(0, 3, 1, 2)


def judged(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray, rare: np.ndarray) -> dict[str, Any]:
    """Recall of the rare and of the common species, as they are and after a shift of the logits by a multiple of the log frequency of the species
    (which trades one for the other): the recall of the rare where the common have at least that of ``LEVELS``."""
    frequency = np.log(counts / counts.sum())

    def recall(predicted: np.ndarray) -> tuple[float, float]:
        (each,) = species_recall((predicted == labels)[None], labels, len(counts))
        return 100 * float(each[rare].mean()), 100 * float(each[~rare].mean())

    shifted = np.array([recall((logits - amount * frequency).argmax(1)) for amount in SHIFTS])
    own = recall(logits.argmax(1))
    at = {str(level): float(shifted[shifted[:, 1] >= level, 0].max(initial=0.0)) for level in LEVELS}
    return {"rare": own[0], "common": own[1], "at": at}


def measure(material: Material, network: str, route: str | None, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One cell of the table: mean over seeds."""
    shared = dict(PROTOCOL["networks"][network])
    seeds, settings = shared.pop("seeds"), dict(settings)
    shared.pop("trainings", None)
    wanted, more = settings.pop("images", "none"), settings.pop("more", 0)
    shared["steps"] *= settings.pop("times_steps", 1)
    config = ClassifierConfig.parse({**shared, **settings})
    images, counts, views = material.train, material.counts, PROTOCOL["views"]
    sources = [("train", material.train.images, np.arange(len(images)))]
    if more:
        chosen = np.concatenate([np.flatnonzero(material.more.labels == one)[:more] for one in np.unique(material.more.labels)])
        images, counts = images.followed_by(material.more.rows(chosen)), counts + np.bincount(material.more.labels[chosen], minlength=len(counts))
        sources.append(("more", material.more.images, chosen))
    if wanted != "none" and route is not None:
        made, accepted = material.synthetic(route)
        chosen = np.flatnonzero(accepted if wanted == "rare" else accepted | ~material.rare[made.labels])
        images = images.followed_by(made.rows(chosen))
        sources.append((route, made.images, chosen))
    known = {what: material.maps(what, pixels, views) for what, pixels, _ in sources}
    features = np.concatenate([material.features(what, known[what])[:, rows] for what, _, rows in sources], axis=1)
    maps = None if config.tune == "head" else np.concatenate([np.asarray(known[what])[:, rows] for what, _, rows in sources], axis=1)
    val = np.asarray(material.maps("val", material.val.images, 1))[0]
    found = [judged(fit(images, maps, features, counts, config, val, seed), material.val.labels, material.counts, material.rare)
             for seed in range(seeds)]  # fmt: skip
    print(network, route, name, [round(one["rare"], 1) for one in found], flush=True)
    return {"num_images": len(images), "seeds": found}


def cells(networks: Sequence[str], routes: Sequence[str]) -> list[tuple[str, str | None, str, dict[str, Any]]]:
    """What is tried: network, route, name of the training, settings."""
    without = {name: one for name, one in PROTOCOL["trainings"].items() if "images" not in one}
    trainings = [(None, name, one) for name, one in without.items()]
    trainings += [
        (None, f"{more} more photographs{', mixup' if mix else ''}", {"more": more, **({"mix": "mixup"} if mix else {})})
        for more in PROTOCOL["more_photographs"]
        for mix in (False, True)
    ]
    trainings += [(route, name, one) for route in routes for name, one in PROTOCOL["trainings"].items() if "images" in one]
    return [
        (network, *training) for network in networks for training in trainings
        if ((only := PROTOCOL["networks"][network].get("trainings")) is None or training[1] in only)
        and not (network == "frozen" and training[1] == "cutmix")  # features cannot be cut: it would be mixup again
    ]  # fmt: skip


def main() -> None:
    parser = options("search", __doc__)
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the photographs (images.csv, reserve.csv)")
    parser.add_argument("--networks", nargs="+", default=list(PROTOCOL["networks"]), help="networks to try (%(default)s)")
    parser.add_argument("--routes", nargs="+", default=PROTOCOL["routes"], help="families to try (%(default)s)")
    parser.add_argument("--only", nargs="+", help="names of trainings (all)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("search", report, arguments)
        return
    if not (arguments.butterflies / "reserve.csv").is_file():
        print(f"{arguments.butterflies} holds no butterflies: nothing measured. Give --butterflies.")
        return
    material = Material(arguments.butterflies, arguments.out)
    for network, route, name, settings in cells(arguments.networks, arguments.routes):
        if arguments.only is None or name in arguments.only:
            kept(cell_file(arguments.out, network, route, name), lambda: measure(material, network, route, name, settings))  # noqa: B023
    found: dict[str, Any] = {}
    for network, route, name, _ in cells(list(PROTOCOL["networks"]), PROTOCOL["routes"]):
        file = cell_file(arguments.out, network, route, name)
        if file.exists():
            found.setdefault(network, {})[f"{route or 'photographs'} | {name}"] = kept(file, dict)
    publish("search", {"protocol": PROTOCOL}, found, report, arguments)


def cell_file(out: Path, network: str, route: str | None, name: str) -> Path:
    """Where a cell is kept."""
    return out / "cells" / f"{network} {route or 'photographs'} {name}.json".replace("%", "percent")


# The page -----------------------------------------------------------------------------------------------------------------------------


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    protocol, body, headline, words = settings["protocol"], list[str](), list[tuple[str, str]](), list[str]()
    for network, found in figures.items():
        body += [f"## {NETWORK_WORDS[network]}", "", *table(["images", "training", "rare", "common", *(f"rare at {level}" for level in LEVELS)],
                                                        [line(name, one) for name, one in found.items()]), ""]  # fmt: skip
        plain = {name: one for name, one in found.items() if name.startswith("photographs |") and "more" not in name}
        made = {name: one for name, one in found.items() if not name.startswith(("photographs |", "collage |"))}
        if plain and made:
            best, other = (max(some, key=lambda name: mean(some[name], "at", "90")) for some in (made, plain))
            gain = mean(made[best], "at", "90") - mean(plain[other], "at", "90")
            headline.append((f"{network}: best with images minus best without, rare at 90 % of the common", f"{gain:+.1f} points"))
            said = f"{best.split(' | ')[1]} ({best.split(' | ')[0]}) {gain:+.1f} points against {other.split(' | ')[1]}"
            words.append(f"{NETWORK_WORDS[network]}: {said}.")
    return Page(
        title="Which synthetic images help, used in which way?",
        question="Which images of copy-paste families, at which share and with which labels, raise the recall of rare species most?",
        answer="On validation photographs, at equal recall of the common species: " + " ".join(words),
        headline=headline,
        body=body[:-1],
        method=[
            f"60 species of butterflies and moths at {protocol['size']} px: 40 rare ones with 6 training photographs, 20 common ones with 40; "
            "6 validation photographs of each (240 of rare species: one is 0.4 points). Test photographs are not read. Recall in %, mean "
            "over seeds; the classifier of the last step, weights averaged. *Rare at 94* and *at 90*: the logits are shifted by a multiple of "
            "the log frequency of the species, which trades recall of the common species for that of the rare; the best recall of the rare "
            "where the common keep 94 or 90 %. Without this comparison, a training that only names rare species more often looks like a gain.",
            "",
            "Both networks are trained on feature maps of a few augmented views of each image, computed once by the first five of seven "
            "groups of blocks; mixup and CutMix mix these maps (mixup with the frozen network: features). *Rare*: accepted images of the rare "
            "species; *all*: as many images of each common species too. All settings: `benchmarks/search.yaml`.",
        ],
    )


NETWORK_WORDS = {"frozen": "Frozen EfficientNet-Lite2, linear head", "tuned": "EfficientNet-Lite2, last quarter trained"}


def line(name: str, one: dict[str, Any]) -> list[str]:
    """A row of the table."""
    images, training = name.split(" | ")
    return [images, training, *(f"{mean(one, key):.1f}" for key in ("rare", "common")), *(f"{mean(one, 'at', str(level)):.1f}" for level in LEVELS)]


def mean(one: dict[str, Any], *keys: str) -> float:
    """Mean over the seeds."""
    values = []
    for found in one["seeds"]:
        value: Any = found
        for key in keys:
            value = value[key]
        values.append(value)
    return float(np.mean(values))


if __name__ == "__main__":
    main()
