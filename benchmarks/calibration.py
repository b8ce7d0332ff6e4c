"""How often is a study right? Hundreds of miniature studies of worlds whose truth is known.

    python benchmarks/calibration.py [--repetitions 200] [--only NAME ...] [--out FOLDER]

A world is drawn anew for each: species are Gaussian clouds of features, their tracks smaller clouds within, a long tail of training
photographs. A logistic regression on noisy copies of the features stands for the classifier, trained once a seed and arm; all that comes after it
is the code that judges every study: the choice of the competitor, the paired bootstrap over species, tracks and seeds, the verdict.

Asked is: how often is "add" said where the synthetic images change nothing (the arm is the competitor's own, trained with other random
numbers); how often where they are drawn from the truth, as many as give about ten points; and how often the 95 % interval holds the true mean
effect. What is known is kept, so a call that was stopped goes on. It takes some minutes of one core; docs/benchmarks/calibration.md is written.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fish4knowledge import add_outputs, kept, machine, points, write_page
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from syntype.study.analysis import AnalysisSettings, Measurements, Outcome, analyse
from syntype.study.arms import CURATED
from syntype.study.photographs import Split

DIM, NUM_SPECIES, NUM_SEEDS = 12, 24, 5
MOST, LEAST = 60, 4
"""Training photographs that a species may have. Numbers are drawn evenly on the logarithm between, anew for each world: an interval that speaks of
other species like these has to hold what other numbers would have given too."""
FILL_TO = 40
GAIN = 0.35
"""Share of the missing photographs that true images make up for: so many that recall rises by about ten points."""
SPECIES, TRACK, IMAGE, VIEW = 1.0, 0.9, 0.7, 0.3
"""Standard deviations of a feature: between species, between tracks of one, within a track, and between two views of one photograph."""


@dataclass(frozen=True)
class Scenario:
    """What the synthetic images are, and how much can be seen.

    Attributes:
        words: for the table.
        gain: share of the missing photographs that are drawn from the truth; 0: nothing is added at all.
        tracks: test tracks of each species, least and most.
        frames: photographs of a track.
    """

    words: str
    gain: float
    tracks: tuple[int, int]
    frames: int


SCENARIOS = {
    "nothing": Scenario("no effect, 10 test tracks of 3 a species", 0.0, (10, 10), 3),
    "nothing, few": Scenario("no effect, 2 to 6 test tracks of 3 a species", 0.0, (2, 6), 3),
    "nothing, long tracks": Scenario("no effect, 2 to 6 test tracks of 12 a species", 0.0, (2, 6), 12),
    "truth": Scenario("true images, 10 test tracks of 3 a species", GAIN, (10, 10), 3),
    "truth, few": Scenario("true images, 2 to 6 test tracks of 3 a species", GAIN, (2, 6), 3),
}
COMPETITORS = ("real", "oversample", "copies")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_outputs(parser, "calibration")
    parser.add_argument("--repetitions", type=int, default=200, help="miniature studies of each kind")
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS), help="kinds to measure now")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in SCENARIOS:
        path = arguments.out / f"{name}, {arguments.repetitions}.json"
        if name in arguments.only or path.exists():
            found[name] = kept(path, lambda name=name: measure(SCENARIOS[name], arguments.repetitions))
    write_page(report(found, arguments.repetitions), "calibration", arguments.docs)


def measure(scenario: Scenario, repetitions: int) -> dict:
    """So many miniature studies, and the minutes that they took."""
    began = time.process_time()
    rows = [miniature(scenario, number) for number in range(repetitions)]
    return {"rows": rows, "minutes": (time.process_time() - began) / 60}


def miniature(scenario: Scenario, number: int) -> dict:
    """One study: verdict, effect against the competitor, and its interval; and the true effect against the arm ``real``, with that interval."""
    random = np.random.default_rng([number, 0xCA11])
    centres = random.normal(scale=SPECIES, size=(NUM_SPECIES, DIM))
    counts = np.round(LEAST * (MOST / LEAST) ** np.sort(random.uniform(size=NUM_SPECIES))[::-1]).astype(np.int64)
    train = photographs(centres, -(-counts // 3), 3, random, counts)
    val = photographs(centres, np.full(NUM_SPECIES, 2), 3, random)
    test = photographs(centres, random.integers(scenario.tracks[0], scenario.tracks[1] + 1, NUM_SPECIES), scenario.frames, random)
    truth = photographs(centres, np.full(NUM_SPECIES, 150), 1, random)  # many independent photographs: what the arms are really worth
    missing = np.maximum(FILL_TO - counts, 0)
    outcomes, real_recall = {}, {}
    for place, arm in enumerate((*COMPETITORS, CURATED)):
        seen = {"val": [], "test": [], "truth": []}
        for seed in range(NUM_SEEDS):
            source = np.random.default_rng([number, place, seed])
            predict = train_arm(arm, scenario, train, centres, missing, source)
            for split, part in (("val", val), ("test", test), ("truth", truth)):
                seen[split].append(predict(part[0]))
        added = int(missing.sum()) if arm in ("copies", CURATED) else 0
        outcomes[arm] = Outcome(np.stack(seen["test"]), np.stack(seen["val"]), (added,) * NUM_SEEDS, (1,) * NUM_SEEDS, 0.0)
        real_recall[arm] = recall_of(np.stack(seen["truth"]), truth[1], np.flatnonzero(missing))

    def judged(names: tuple[str, ...]) -> dict:
        measured = Measurements(
            {name: outcomes[name] for name in names}, Split(test[1], test[2]), Split(val[1], val[2]),
            species=[str(label) for label in range(NUM_SPECIES)], counts_real=counts, offered=missing * NUM_SEEDS, accepted=missing * NUM_SEEDS,
            generator_varies=False,
        )  # fmt: skip
        return analyse(measured, AnalysisSettings(num_bootstrap=2000, seed=number))

    full, pair = judged((*COMPETITORS, CURATED)), judged(("real", CURATED))["effects"]["primary"]
    return {
        "verdict": full["verdict"]["word"],
        "competitor": full["competitor"]["name"],
        "effect": full["effects"]["primary"]["value"],
        "true_effect": real_recall[CURATED] - real_recall[full["competitor"]["name"]],
        "against_real": {"effect": pair["value"], "interval": pair["interval"], "true_effect": real_recall[CURATED] - real_recall["real"]},
    }


def photographs(
    centres: np.ndarray, tracks: np.ndarray, frames: int, random: np.random.Generator, most: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, DIM), labels (N,) and numbers of tracks (N,): so many tracks of each species, of so many frames, at most ``most`` of a species."""
    labels = np.repeat(np.arange(len(centres)), tracks)
    middles = centres[labels] + random.normal(scale=TRACK, size=(len(labels), DIM))
    features = np.repeat(middles, frames, axis=0) + random.normal(scale=IMAGE, size=(len(labels) * frames, DIM))
    labels, groups = np.repeat(labels, frames), np.repeat(np.arange(len(labels)), frames)
    if most is None:
        return features, labels, groups
    rank = np.arange(len(labels)) - np.searchsorted(labels, labels)
    keep = rank < most[labels]
    return features[keep], labels[keep], groups[keep]


def train_arm(
    arm: str,
    scenario: Scenario,
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    centres: np.ndarray,
    missing: np.ndarray,
    random: np.random.Generator,
) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier of one arm and seed: features -> labels."""
    features, labels, _ = train
    if arm == CURATED and scenario.gain:
        wanted = np.round(scenario.gain * missing).astype(np.int64)
        new, of, _ = photographs(centres, wanted, 1, random)
        features, labels = np.concatenate([features, new]), np.concatenate([labels, of])
    if arm == "copies":
        extra = np.concatenate([random.choice(np.flatnonzero(labels == label), count) for label, count in enumerate(missing) if count])
        features, labels = np.concatenate([features, features[extra]]), np.concatenate([labels, labels[extra]])
    views = np.concatenate([features + random.normal(scale=VIEW, size=features.shape) for _ in range(2)])
    weights = "balanced" if arm in ("oversample", CURATED) else None
    model = LogisticRegression(C=0.5, class_weight=weights, max_iter=60, tol=1e-3).fit(views, np.tile(labels, 2))
    return model.predict


def recall_of(predicted: np.ndarray, labels: np.ndarray, species: np.ndarray) -> float:
    """Mean recall over species and seeds; predicted: (S, N)."""
    return float(np.mean([(predicted[:, labels == label] == label).mean() for label in species]))


def report(found: dict[str, dict], repetitions: int) -> str:
    """What was found, as Markdown."""
    lines = [
        "# How often is a study right?",
        "",
        f"Written by `python benchmarks/calibration.py --repetitions {repetitions}`. Machine: {machine()}; "
        f"{sum(one['minutes'] for one in found.values()):.0f} minutes of one core.",
        "",
        f"{repetitions} miniature studies of each kind, each of a world drawn anew: {NUM_SPECIES} species with {LEAST} to {MOST} training "
        f"photographs, as many small numbers as large ones on the logarithm, filled up to {FILL_TO}; {NUM_SEEDS} seeds; "
        f"competitors {', '.join(f'`{name}`' for name in COMPETITORS)}. Species are "
        "Gaussian clouds of features and the classifier is a logistic regression, so that the truth is known and a study takes a second; what "
        "judges is the code of `syntype study`. *No effect*: the arm is `oversample` trained with other random numbers. *True images*: fresh draws "
        "from the species' own clouds.",
        "",
        "| what the images are | “add” (95 %, Wilson) | “do not add” | “not enough evidence” | true effect, points | mean effect found |"
        " 95 % interval holds the truth |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in found.items():
        rows = one["rows"]
        share = {word: sum(row["verdict"] == word for row in rows) for word in ("add", "do not add", "not enough evidence")}
        interval = binomtest(share["add"], len(rows)).proportion_ci(method="wilson")
        against = [row["against_real"] for row in rows]
        mean = np.mean([row["true_effect"] for row in against])
        held = sum(row["interval"][0] <= mean <= row["interval"][1] for row in against)
        bounds = binomtest(held, len(rows)).proportion_ci(method="wilson")
        lines.append(
            f"| {SCENARIOS[name].words} | {share['add'] / len(rows):.1%} ({interval.low:.1%} to {interval.high:.1%}) | "
            f"{share['do not add'] / len(rows):.1%} | {share['not enough evidence'] / len(rows):.1%} | "
            f"{points(np.mean([row['true_effect'] for row in rows]))} | {points(np.mean([row['effect'] for row in rows]))} | "
            f"{held / len(rows):.1%} ({bounds.low:.1%} to {bounds.high:.1%}) |"
        )
    lines += [
        "",
        "Effects are against the competitor that the validation photographs chose; the true ones are measured on 150 independent photographs a "
        "species. The interval in the last column is that of the comparison with `real`, the truth the mean over all worlds: it is the interval's "
        "task to hold what other species, tracks and seeds would have given.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
