"""How often is a study right? Hundreds of miniature studies of worlds whose truth is known.

    python benchmarks/calibration.py [--repetitions 200] [--only NAME ...] [--out FOLDER]

A world is drawn anew for each: species are Gaussian clouds of features, their tracks smaller clouds within, a long tail of training
photographs. A logistic regression on noisy copies of the features stands for the classifier, trained once a seed and arm; all that comes after it
is the code that judges every study: the choice of the competitor, the paired bootstrap over species, tracks and seeds, the verdict.

Asked is: how often is "add" said where the synthetic images change nothing (the arm is the competitor's own, trained with other random
numbers); how often where they are drawn from the truth, as many as give about ten points; and how often the 95 % interval holds the true mean
effect. What is known is kept, so a call that was stopped continues. It takes some minutes of one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from common.results import Page, kept, options, points, publish, rewrite, table
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
    parser = options("calibration", __doc__)
    parser.add_argument("--repetitions", type=int, default=200, help="miniature studies of each kind")
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS), help="kinds to measure now")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("calibration", report, arguments)
        return
    found, minutes = {}, 0.0
    for name in SCENARIOS:
        path = arguments.out / f"{name}, {arguments.repetitions}.json"
        if name in arguments.only or path.exists():
            one = kept(path, lambda name=name: measure(SCENARIOS[name], arguments.repetitions))
            found[name] = {**summary(one["rows"]), "measured": one["measured"]}
            minutes += one["minutes"]
    publish("calibration", {"repetitions": arguments.repetitions}, {**found, "minutes": minutes}, report, arguments)


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


WORDS = ("add", "do not add", "not enough evidence")


def summary(rows: list[dict]) -> dict[str, Any]:
    """What many miniature studies found: counts and means."""
    against = [row["against_real"] for row in rows]
    mean = np.mean([row["true_effect"] for row in against])
    return {
        "studies": len(rows),
        "verdicts": {word: sum(row["verdict"] == word for row in rows) for word in WORDS},
        "true_effect": float(np.mean([row["true_effect"] for row in rows])),
        "effect": float(np.mean([row["effect"] for row in rows])),
        "held": int(sum(row["interval"][0] <= mean <= row["interval"][1] for row in against)),
    }


def rate(count: int, whole: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    interval = binomtest(count, whole).proportion_ci(method="wilson")
    return f"{count / whole:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    known = {name: figures[name] for name in SCENARIOS if name in figures}
    rows = []
    for name, one in known.items():
        said, whole = one["verdicts"], one["studies"]
        others = [f"{said[word] / whole:.1%}" for word in WORDS[1:]]
        effects = [points(one["true_effect"]), points(one["effect"])]
        rows.append([SCENARIOS[name].words, rate(said["add"], whole), *others, *effects, rate(one["held"], whole)])
    wrong = [one["verdicts"]["add"] / one["studies"] for name, one in known.items() if not SCENARIOS[name].gain]
    right = [one["verdicts"]["add"] / one["studies"] for name, one in known.items() if SCENARIOS[name].gain]
    spread = lambda values: f"{min(values):.1%} to {max(values):.1%}" if values else "–"  # noqa: E731
    return Page(
        title="How often is the verdict of a study right?",
        question="How often does a study say “add” where the synthetic images change nothing, and where they are as good as true images? Does the "
        "95 % "
        "interval of the effect hold the true effect in 95 % of the studies?",
        answer=f"Of the studies without an effect {spread(wrong)} say “add”; of the studies of true images, which raise recall by about ten points, "
        f"{spread(right)} do. The 95 % interval holds the true effect in {spread([one['held'] / one['studies'] for one in known.values()])} of the "
        f"studies.",
        headline=[("“add” without an effect", spread(wrong)), ("“add” with an effect of ten points", spread(right))],
        body=[
            "Every row: the share of studies with each verdict (95 % interval, Wilson), the true mean effect and the mean effect that the studies "
            "found, in points of recall, and how often the 95 % interval of the effect holds the true one.",
            "",
            *table(
                [
                    "synthetic images",
                    "“add”",
                    "“do not add”",
                    "“not enough evidence”",
                    "true effect, points",
                    "mean effect found",
                    "interval holds the truth",
                ],
                rows,
            ),
            "",
            "Effects are against the competitor that was chosen on the validation photographs; the true ones are measured on 150 independent "
            "photographs "
            "a species. The last column is about the comparison with `real`; the truth is the mean over all worlds, because the interval should "
            "hold what "
            "other species, tracks and seeds would have given.",
        ],
        method=[
            f"{settings['repetitions']} miniature studies of each kind, each of a world drawn anew: {NUM_SPECIES} species with {LEAST} to {MOST} "
            f"training "
            f"photographs (numbers drawn evenly on a logarithmic scale), filled up to {FILL_TO}; {NUM_SEEDS} seeds; competitors "
            f"{', '.join(f'`{name}`' for name in COMPETITORS)}. Species are Gaussian distributions of features and the classifier is a logistic "
            f"regression, so "
            "that the truth is known and a study takes a second; the verdict is computed by the code of `syntype study`. *No effect*: the arm is "
            "`oversample` trained with other random numbers. *True images*: new samples of the species' own distributions. "
            f"{figures['minutes']:.0f} minutes of one core."
        ],
    )


if __name__ == "__main__":
    main()
