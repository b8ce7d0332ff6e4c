"""Does the interval of a study agree with that of a hierarchical logistic model of the same predictions?

    python benchmarks/hierarchical.py [--repetitions 20] [--studies 6] [--butterflies FOLDER] [--out FOLDER]

The model (Gelman & Hill 2007, "Data analysis using regression and multilevel/hierarchical models", chapter 14): whether a photograph is named
correctly, in log odds, is a constant, plus an effect of the arm, plus for each species a deviation of either, plus deviations of the photograph, of
the photograph with the arm, and of the seed with the arm. All deviations are normal. statsmodels fits it (``BinomialBayesMixedGLM``, variational
Bayes: the standard deviations, and a start for the rest); as the variational covariance leaves out correlations and so gives intervals that are too
narrow, the covariance is that of the joint mode, given these standard deviations (Laplace). The average marginal effect, in points of recall of
species like these, is integrated over the deviations.

Asked on simulated studies with a known effect, and on miniature studies of the butterflies (without their test split): do the two methods find the
same value, is one interval wider, how often does either hold the truth, and how often do they disagree on whether it lies above zero?
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common.butterflies import BUTTERFLIES
from common.miniature import Photographs, divide, encoded, predictions
from common.results import Page, kept, options, points, publish, rate, rewrite, table
from scipy.special import expit
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

from syntype.study.statistics import paired_effect

NUM_SPECIES, NUM_PHOTOGRAPHS, NUM_SEEDS = 16, 8, 5
"""Of a simulated study: species, test photographs of each, and seeds."""
SPREADS = {"species": 0.8, "species by arm": 0.5, "photograph": 1.2, "photograph by arm": 0.6, "seed by arm": 0.1}
"""Standard deviations of the simulated deviations, in log odds."""
EFFECTS = {"no effect": 0.0, "an effect": 0.6}
"""Simulated effects of the arm, in log odds."""
DRAWS = 2000


def main() -> None:
    parser = options("hierarchical", __doc__)
    parser.add_argument("--repetitions", type=int, default=20, help="simulated studies of each kind")
    parser.add_argument("--studies", type=int, default=6, help="studies of each kind on the butterflies")
    parser.add_argument("--butterflies", type=Path, default=BUTTERFLIES, help="folder of the butterflies (images.csv, reserve.csv)")
    arguments = parser.parse_args()
    if arguments.page:
        rewrite("hierarchical", report, arguments)
        return
    figures = {}
    for name, effect in EFFECTS.items():
        path = arguments.out / f"{name}, {arguments.repetitions}.json"
        found = kept(path, lambda effect=effect: measure(lambda number: simulated(effect, number), arguments.repetitions))
        figures[name] = {**found, "truth": true_effect(effect)}
    photographs = encoded(arguments.butterflies, arguments.out)
    for name, num_extra in (("butterflies, copies", 0), ("butterflies, 12 more", 12)):
        if photographs is not None:
            path = arguments.out / f"{name}, {arguments.studies}.json"
            figures[name] = kept(path, lambda extra=num_extra: measure(lambda number: butterflies(photographs, extra, number), arguments.studies))
    publish("hierarchical", {"repetitions": arguments.repetitions, "studies": arguments.studies}, figures, report, arguments)


Study = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Hits of two arms, bool, shape (S, N), and the species of the photographs, int64, shape (N,)."""


def measure(study: Callable[[int], Study], repetitions: int) -> dict[str, Any]:
    """Value and interval of both methods for so many studies."""
    began, rows = time.process_time(), []
    for number in range(repetitions):
        hits_a, hits_b, labels = study(number)
        found = paired_effect(hits_a, hits_b, labels, np.arange(len(labels)), np.unique(labels), seed=number)
        if found is not None:
            rows.append({"bootstrap": [found.value, found.low, found.high], "model": model(hits_a, hits_b, labels, number)})
    return {"rows": rows, "truth": None, "minutes": (time.process_time() - began) / 60}


def simulated(effect: float, number: int, num_species: int = NUM_SPECIES) -> Study:
    """A study drawn from the model."""
    random = np.random.default_rng([number, 0x61E])
    labels = np.repeat(np.arange(num_species), NUM_PHOTOGRAPHS)
    draw = lambda name, *shape: SPREADS[name] * random.normal(size=shape)  # noqa: E731
    base = 0.5 + draw("species", num_species)[labels] + draw("photograph", len(labels))
    hits = []
    for arm in (effect, 0.0):
        odds = base + arm + draw("species by arm", num_species)[labels] / np.sqrt(2) + draw("photograph by arm", len(labels)) / np.sqrt(2)
        hits.append(random.random((NUM_SEEDS, len(labels))) < expit(odds + draw("seed by arm", NUM_SEEDS, 1)))
    return hits[0], hits[1], labels


def true_effect(effect: float) -> float:
    """Mean difference of recall over all deviations, by Gauss-Hermite quadrature."""
    whole = SPREADS["species"] ** 2 + SPREADS["photograph"] ** 2 + SPREADS["seed by arm"] ** 2
    spread = np.sqrt(whole + (SPREADS["species by arm"] ** 2 + SPREADS["photograph by arm"] ** 2) / 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    recall = [float(weights @ expit(0.5 + arm + spread * nodes) / weights.sum()) for arm in (effect, 0.0)]
    return recall[0] - recall[1]


def butterflies(photographs: Photographs, num_extra: int, number: int) -> Study:
    """A study of 20 species with 6 training photographs each: with more photographs, or with copies if there are none, against the same without.

    With one seed: the same photographs are right, or wrong, with nearly all seeds, and then the joint mode of the model pulls effects towards zero
    (Breslow & Lin 1995, Biometrika 82, 81-91).
    """
    random = np.random.default_rng([number, 0x61F])
    target = np.flatnonzero(photographs.counts == photographs.counts.max())
    parts = divide(photographs, target, num_extra, random)
    parts_test = np.concatenate([rows[:NUM_PHOTOGRAPHS] for rows in (parts.test[photographs.labels[parts.test] == label] for label in target)])
    few = parts.train[np.isin(photographs.labels[parts.train], target)]
    added = parts.extra if num_extra else np.repeat(few, 4)
    hits = []
    for rows in (np.concatenate([parts.train, added]), parts.train):
        named = np.stack([predictions(photographs, rows, parts_test, random, balanced=True)])
        hits.append(named == photographs.labels[parts_test])
    return hits[0], hits[1], photographs.labels[parts_test]


def model(hits_a: np.ndarray, hits_b: np.ndarray, labels: np.ndarray, number: int) -> list[float]:
    """Average marginal effect of the arm and its 95 % interval, as fractions of recall."""
    num_seeds, num_photographs = hits_a.shape
    hit = np.concatenate([hits_a.ravel(), hits_b.ravel()]).astype(np.float64)
    arm = np.repeat([0.5, -0.5], hits_a.size)
    species = np.unique(labels, return_inverse=True)[1]
    of_species, photograph = np.tile(species, 2 * num_seeds), np.tile(np.arange(num_photographs), 2 * num_seeds)
    seed = np.tile(np.arange(num_seeds).repeat(num_photographs), 2)
    fixed = np.column_stack([np.ones(len(hit)), arm])
    one = lambda codes: np.eye(codes.max() + 1)[codes]  # noqa: E731
    parts = [one(of_species), one(of_species) * arm[:, None], one(photograph)]
    if num_seeds > 1:  # with one seed, what a photograph does to the arm is the chance of the hit
        parts += [one(photograph) * arm[:, None], one(seed) * arm[:, None]]
    kinds = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
    design = np.column_stack(parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels says so when the last step of the search was not needed
        found = BinomialBayesMixedGLM(hit, fixed, design, kinds, vcp_p=2.0, fe_p=3.0).fit_vb(fit_method="L-BFGS-B", minim_opts={"maxiter": 200})
    spreads = np.exp(found.vcp_mean)
    everything, penalty = np.column_stack([fixed, design]), np.concatenate([[1 / 9, 1 / 9], 1 / spreads[kinds] ** 2])
    mode = np.concatenate([found.fe_mean, found.vc_mean])
    for _ in range(8):
        chance = expit(everything @ mode)
        information = (everything * (chance * (1 - chance))[:, None]).T @ everything + np.diag(penalty)
        mode = mode + np.linalg.solve(information, everything.T @ (hit - chance) - penalty * mode)
    covariance = np.linalg.inv(information)[:2, :2]
    random = np.random.default_rng([number, 0x61A])
    fixed_draws = random.multivariate_normal(mode[:2], covariance, size=DRAWS)
    intercept = np.hypot(spreads[0], spreads[2]) * random.normal(size=400)
    slope = np.sqrt(spreads[1] ** 2 + np.square(spreads[3:]).sum()) * random.normal(size=400)

    def effects(values: np.ndarray) -> np.ndarray:
        middle, half = values[:, :1] + intercept, (values[:, 1:] + slope) / 2
        return (expit(middle + half) - expit(middle - half)).mean(axis=1)

    drawn = effects(fixed_draws)
    return [float(effects(mode[None, :2])[0]), *(float(one) for one in np.quantile(drawn, [0.025, 0.975]))]


def compared(rows: list[dict[str, list[float]]], truth: float | None) -> dict[str, Any]:
    """What many studies found with both methods."""
    bootstrap, fitted = (np.array([row[name] for row in rows]) for name in ("bootstrap", "model"))
    width = lambda found: found[:, 2] - found[:, 1]  # noqa: E731
    held = lambda found: None if truth is None else int(((found[:, 1] <= truth) & (truth <= found[:, 2])).sum())  # noqa: E731
    return {
        "studies": len(rows),
        "values": [float(bootstrap[:, 0].mean()), float(fitted[:, 0].mean())],
        "apart": float(np.abs(bootstrap[:, 0] - fitted[:, 0]).mean()),
        "half_widths": [float(width(found).mean() / 2) for found in (bootstrap, fitted)],
        "held": [held(bootstrap), held(fitted)],
        "gains": [int((found[:, 1] > 0).sum()) for found in (bootstrap, fitted)],
        "same_answer": int(((bootstrap[:, 1] > 0) == (fitted[:, 1] > 0)).sum()),
    }


def report(settings: dict[str, Any], figures: dict[str, Any]) -> Page:
    """The page."""
    found = {name: compared(one["rows"], one["truth"]) for name, one in figures.items()}
    rows = []
    for name, one in found.items():
        truth, whole = figures[name]["truth"], one["studies"]
        for place, method in enumerate(("bootstrap of the study", "hierarchical model")):
            held = one["held"][place]
            rows.append(
                [
                    f"{name} ({whole})" if not place else "",
                    method,
                    points(truth),
                    points(one["values"][place]),
                    f"{100 * one['half_widths'][place]:.1f}",
                    "–" if held is None else rate(held, whole, 0),
                    rate(one["gains"][place], whole, 0),
                    f"{one['same_answer']} of {whole}" if not place else "",
                ]
            )
    total, same = sum(one["studies"] for one in found.values()), sum(one["same_answer"] for one in found.values())
    apart = max(one["apart"] for one in found.values())
    ratios = [one["half_widths"][0] / one["half_widths"][1] for one in found.values()]
    known = [one for one in found.values() if one["held"][0] is not None]
    coverage = [sum(one["held"][place] for one in known) / max(sum(one["studies"] for one in known), 1) for place in (0, 1)]
    heads = ["studies (number)", "method", "true effect", "mean value", "half the interval", "holds the truth", "lies above zero", "same answer"]
    return Page(
        title="Does a hierarchical model find what the study's interval finds?",
        question="Does the bootstrap interval of a study agree with the interval of a hierarchical logistic model of the same predictions?",
        answer=f"In {same} of {total} studies both say the same on whether the gain lies above zero. Their values are at most "
        f"{100 * apart:.1f} points apart "
        f"in the mean of a kind of study; the bootstrap interval is {min(ratios):.2f} to {max(ratios):.2f} times as wide. Where the truth is "
        "known, the "
        f"bootstrap interval holds it in {coverage[0]:.0%} of the studies and the model's in {coverage[1]:.0%}.",
        headline=[("same answer", f"{same} of {total}"), ("interval holds the truth", f"{coverage[0]:.0%}; model {coverage[1]:.0%}")],
        body=[
            "Effects and intervals in points of recall. *Same answer*: both intervals lie above zero, or neither. The studies on butterflies compare "
            "training with copies, or with 12 more photographs of each species, with training on 6 photographs; their truth is not known.",
            "",
            *table(heads, rows),
        ],
        method=[
            f"Simulated studies: {NUM_SPECIES} species with {NUM_PHOTOGRAPHS} test photographs, {NUM_SEEDS} seeds, standard deviations in log odds: "
            f"{', '.join(f'{name} {value}' for name, value in SPREADS.items())}. Butterflies: 20 species, {NUM_PHOTOGRAPHS} test photographs of "
            "each, one seed, ridge regression on features of a frozen Lite2; not from the test split. The model: hit ~ arm + (1 + arm | species) + "
            "(1 + arm | photograph) + (arm | seed), with independent deviations; with one seed without the last and without arm by photograph. "
            "Standard "
            "deviations by variational Bayes (statsmodels, prior on their logarithm N(0, 2)), the rest from the joint mode given them. One "
            "seed, because "
            "with five the same photographs are right, or wrong, nearly every time, and the joint mode then pulls effects towards zero "
            "(Breslow & Lin "
            "1995): in three studies with 12 more photographs and five seeds it found +2.1 points where the photographs show +7.0. The "
            "simulation is of "
            "the model's own kind; the bootstrap assumes none."
        ],
    )


if __name__ == "__main__":
    main()
