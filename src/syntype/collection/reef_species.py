"""The reef's species: invented fishes described by parameters, which are computed from (seed, number of the species).

Each genus has two species. They share the genus's body plan, colours and pattern, and differ in four diagnostic traits (such as one more
bar, a spot on the tail root, another tail colour), like similar species of one genus in a field guide.
Lengths are in body lengths (snout to tail root). Colours are RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

__all__ = ["GENUS_SIZE", "Mark", "Species", "species_name", "species_parameters"]

GENUS_SIZE = 2
"""Number of species per genus."""

_GENUS, _SPECIES = 1, 2  # numbers of separate random streams

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Mark:
    """An ellipse painted on the body, such as an ocellus, a spot on shoulder or tail root, or a saddle. ``t`` runs from belly (-1) to back (1)."""

    u: float
    t: float
    radius_u: float
    radius_t: float
    colour: Colour
    ring: Colour | None


@dataclass(frozen=True)
class Species:
    """Parameters that all individuals of a species share.

    Attributes:
        depth: greatest height of the body.
        peak: position of the greatest height along the body (0 snout, 1 tail root).
        snout_top, snout_bottom: exponent of the outline at the snout; 0.5 is a round head, 1 a pointed one.
        peduncle: height of the tail root as a fraction of ``depth``.
        tail_length, tail_height: length of the tail fin, and half its span.
        fork, rounding, flare: depth of the fork, convexity of the rear edge, and how quickly the tail fin widens.
        dorsal, anal: (start, end, height, position of the highest point as a fraction of the base).
        lean: backward lean of the fins.
        pelvic: length of the pelvic fin.
        eye: (u, height above the axis as a fraction of the half-height, radius).
        base, belly, pattern, accent, fin: colours.
        countershade: weight of the belly colour, 0..1.
        motif: ``bars``, ``stripes``, ``spots``, ``net`` or ``plain``.
        count: number of bars or stripes, or of spots along the body.
        width: fraction of a period that a bar, stripe or spot covers.
        start, stop: range of the body that has the motif (along the body; for stripes from belly to back).
        slant, taper, outline: slope, narrowing towards the belly, and weight of an edge line in the accent colour.
        two_tone: (start of the rear colour, width of the transition), or None.
        rear: the rear colour.
        tail_colour: colour of the tail fin.
        eye_stripe: half-width of the band through the eye; 0 for none.
        fin_edge: width of the fins' coloured margin as a fraction of the fin; 0 for none.
        scales: contrast of the scale pattern.
        marks: painted after the pattern, in this order.
    """

    depth: float
    peak: float
    snout_top: float
    snout_bottom: float
    peduncle: float
    tail_length: float
    tail_height: float
    fork: float
    rounding: float
    flare: float
    dorsal: tuple[float, float, float, float]
    anal: tuple[float, float, float, float]
    lean: float
    pelvic: float
    eye: tuple[float, float, float]
    base: Colour
    belly: Colour
    pattern: Colour
    accent: Colour
    fin: Colour
    countershade: float
    motif: str
    count: int
    width: float
    start: float
    stop: float
    slant: float
    taper: float
    outline: float
    two_tone: tuple[float, float] | None
    rear: Colour
    tail_colour: Colour
    eye_stripe: float
    fin_edge: float
    scales: float
    marks: tuple[Mark, ...]

    def vector(self) -> np.ndarray:
        """The parameters as a float64 vector, to measure how similar two species are: first body and pattern, then colours."""
        motif = [float(self.motif == name) for name in _MOTIFS]
        marks = [float(any(abs(mark.u - u) < 0.12 for mark in self.marks)) for u in (0.25, 0.55, 0.72, 0.93)]
        shape = [
            self.depth,
            self.peak,
            self.snout_top,
            self.snout_bottom,
            self.peduncle,
            self.tail_length,
            self.tail_height,
            self.fork,
            self.rounding,
        ]
        fins = [*self.dorsal, *self.anal, self.lean, self.pelvic, *self.eye]
        pattern = [self.count / 10, self.width, self.slant, self.eye_stripe * 10, self.fin_edge, float(self.two_tone is not None)]
        return np.array([*shape, *fins, *motif, *pattern, *marks, *self.base, *self.belly, *self.pattern, *self.accent, *self.fin, *self.tail_colour])


# Body plans, loosely after families of reef fishes. Columns: depth, peak, snout top, snout bottom, peduncle, tail length, tail height,
# fork, rounding, flare, dorsal, anal, lean, pelvic, eye.
_Plan = tuple[float, float, float, float, float, float, float, float, float, float,
              tuple[float, float, float, float], tuple[float, float, float, float], float, float, tuple[float, float, float]]  # fmt: skip
# fmt: off
_PLANS: tuple[_Plan, ...] = (
    # damsel, butterflyfish, angelfish, wrasse
    (0.50, 0.42, 0.58, 0.58, 0.27, 0.30, 0.19, 0.50, 0.05, 0.9, (0.24, 0.92, 0.12, 0.72), (0.55, 0.92, 0.12, 0.55), 0.7, 0.15, (0.145, 0.22, 0.042)),
    (0.66, 0.50, 0.95, 0.90, 0.17, 0.18, 0.13, 0.04, 0.10, 0.8, (0.30, 0.97, 0.13, 0.70), (0.56, 0.96, 0.14, 0.60), 0.5, 0.14, (0.165, 0.30, 0.036)),
    (0.60, 0.47, 0.66, 0.68, 0.22, 0.22, 0.15, 0.02, 0.18, 0.8, (0.26, 0.98, 0.20, 0.90), (0.55, 0.97, 0.20, 0.85), 1.0, 0.18, (0.140, 0.28, 0.034)),
    (0.27, 0.40, 0.70, 0.68, 0.44, 0.20, 0.11, 0.00, 0.32, 0.7, (0.26, 0.95, 0.07, 0.60), (0.52, 0.94, 0.06, 0.60), 0.6, 0.09, (0.140, 0.24, 0.024)),
    # surgeonfish, goby, fusilier, grouper
    (0.52, 0.45, 0.52, 0.60, 0.15, 0.27, 0.24, 0.66, 0.00, 0.6, (0.20, 0.97, 0.09, 0.65), (0.42, 0.96, 0.08, 0.60), 0.7, 0.11, (0.150, 0.42, 0.032)),
    (0.19, 0.28, 0.48, 0.52, 0.52, 0.22, 0.10, 0.00, 0.42, 0.7, (0.30, 0.90, 0.11, 0.22), (0.55, 0.90, 0.08, 0.50), 0.7, 0.09, (0.100, 0.45, 0.030)),
    (0.29, 0.42, 0.62, 0.64, 0.17, 0.30, 0.20, 0.76, 0.00, 0.8, (0.28, 0.90, 0.06, 0.25), (0.60, 0.90, 0.05, 0.25), 0.9, 0.09, (0.110, 0.20, 0.030)),
    (0.38, 0.37, 0.66, 0.60, 0.38, 0.24, 0.16, 0.00, 0.30, 0.7, (0.27, 0.94, 0.10, 0.75), (0.62, 0.90, 0.11, 0.60), 0.8, 0.12, (0.150, 0.42, 0.030)),
    # snapper, cardinalfish, triggerfish, hawkfish
    (0.37, 0.34, 0.62, 0.80, 0.26, 0.28, 0.18, 0.36, 0.00, 0.9, (0.26, 0.92, 0.09, 0.22), (0.64, 0.88, 0.09, 0.30), 0.8, 0.13, (0.170, 0.45, 0.034)),
    (0.38, 0.40, 0.60, 0.62, 0.34, 0.25, 0.14, 0.42, 0.08, 0.9, (0.32, 0.62, 0.15, 0.30), (0.56, 0.84, 0.13, 0.30), 0.9, 0.13, (0.125, 0.22, 0.052)),
    (0.53, 0.50, 0.92, 0.88, 0.20, 0.22, 0.15, 0.10, 0.04, 0.8, (0.58, 0.95, 0.16, 0.25), (0.58, 0.94, 0.15, 0.25), 0.6, 0.05, (0.230, 0.55, 0.026)),
    (0.30, 0.36, 0.56, 0.60, 0.40, 0.23, 0.15, 0.20, 0.10, 0.8, (0.22, 0.90, 0.16, 0.12), (0.58, 0.88, 0.10, 0.40), 1.0, 0.12, (0.120, 0.35, 0.036)),
)
# fmt: on

_COLOURS: tuple[Colour, ...] = (
    (0.96, 0.82, 0.16), (0.95, 0.52, 0.14), (0.78, 0.22, 0.18), (0.90, 0.58, 0.54), (0.16, 0.38, 0.82), (0.08, 0.12, 0.34), (0.22, 0.64, 0.70),
    (0.36, 0.56, 0.26), (0.52, 0.48, 0.25), (0.44, 0.30, 0.19), (0.72, 0.76, 0.79), (0.94, 0.94, 0.90), (0.08, 0.08, 0.09), (0.44, 0.28, 0.56),
    (0.80, 0.68, 0.48))  # fmt: skip
_MOTIFS = ("bars", "stripes", "spots", "net", "plain")
_DEALT_MOTIFS = ("bars",) * 4 + ("stripes",) * 3 + ("spots",) * 2 + ("net",) + ("plain",) * 2  # one for each of twelve genera
_TRAITS = ("count", "width", "mark", "eye_stripe", "tail_colour", "two_tone", "hue", "fin_edge", "proportions", "slant")

_GENUS_START = ("Picto", "Graphi", "Ficti", "Penicillo", "Chromo", "Imagino", "Signo", "Umbro", "Lineo", "Maculo", "Colori", "Phanto")
_GENUS_MIDDLE = ("", "do", "ma", "ri", "ve", "lu", "so", "na", "ti", "ba")
_GENUS_END = ("piscis", "ichthys", "branchus", "pinna", "soma", "gaster", "cephalus", "rhynchus", "nectes", "lepis")
_EPITHETS = ("primus", "alter")
_NUM_TRAITS = 4  # number of diagnostic traits in which the second species of a genus differs from the first


def species_name(number: int) -> str:
    """The invented binomial of species ``number`` (from 0), constructed so that it is not the name of a real taxon.

    Genus names are built from stems that mean painting, drawing or imagining (Pictopiscis, "painted fish"). From 1,200 genera on, a
    stem that stands for a number is inserted.
    """
    genus, slot = divmod(number, GENUS_SIZE)
    ends, middles, starts = len(_GENUS_END), len(_GENUS_MIDDLE), len(_GENUS_START)
    start, end, middle = genus % starts, (genus + genus // starts) % ends, (genus // (starts * ends)) % middles
    block = genus // (starts * ends * middles)
    stem = "" if block == 0 else "".join(("ni", "mo", "bi", "tri", "qua", "qui", "se", "sep", "oc", "no")[int(digit)] for digit in str(block))
    return f"{_GENUS_START[start]}{_GENUS_MIDDLE[middle]}{stem}{_GENUS_END[end]} {_EPITHETS[slot]}"


@lru_cache(maxsize=4096)
def species_parameters(seed: int, number: int) -> Species:
    """Parameters of species ``number`` (from 0) of the reef with seed ``seed``. They do not depend on the size of the reef."""
    genus, slot = divmod(number, GENUS_SIZE)
    type_species, diagnostics = _genus(seed, genus)
    rng = np.random.default_rng([seed, _SPECIES, number])
    species = _jitter(type_species, rng)
    for trait in diagnostics if slot else ():
        species = _change(species, trait, rng)
    return species


@lru_cache(maxsize=2048)
def _genus(seed: int, genus: int) -> tuple[Species, tuple[str, ...]]:
    rng = np.random.default_rng([seed, _GENUS, genus])
    block, place = divmod(genus, len(_PLANS))  # each block of twelve genera has every body plan once, and every motif at least once
    deal = np.random.default_rng([seed, _GENUS, block, 0])
    plan, motif = _PLANS[int(deal.permutation(len(_PLANS))[place])], _DEALT_MOTIFS[int(deal.permutation(len(_DEALT_MOTIFS))[place])]
    base = _COLOURS[int(deal.permutation(len(_COLOURS))[place])]

    def about(value: float, spread: float = 0.08) -> float:
        return float(value * np.exp(rng.normal(0, spread)))

    pattern = _contrasting(rng, base, 0.55)
    accent = _contrasting(rng, pattern, 0.5)
    white = (0.90, 0.91, 0.88)
    ranges = {"bars": (2, 8), "stripes": (1, 7), "spots": (6, 14), "net": (10, 18), "plain": (3, 4)}
    count = int(rng.integers(*ranges[motif]))
    start, stop = (rng.uniform(0.12, 0.32), rng.uniform(0.86, 1.02)) if motif == "bars" else (rng.uniform(-0.8, -0.1), rng.uniform(0.6, 0.95))
    fin = _mix(base, (pattern, white, accent, base)[int(rng.integers(4))], rng.uniform(0.2, 0.8))
    two_tone = (float(rng.uniform(0.45, 0.8)), float(rng.uniform(0.02, 0.25))) if rng.random() < (0.6 if motif == "plain" else 0.18) else None
    type_species = Species(
        depth=about(plan[0]), peak=about(plan[1], 0.05), snout_top=about(plan[2], 0.06), snout_bottom=about(plan[3], 0.06),
        peduncle=about(plan[4]), tail_length=about(plan[5]), tail_height=about(plan[6]), fork=about(plan[7]), rounding=about(plan[8]),
        flare=plan[9], dorsal=(plan[10][0], plan[10][1], about(plan[10][2], 0.15), plan[10][3]),
        anal=(plan[11][0], plan[11][1], about(plan[11][2], 0.15), plan[11][3]), lean=about(plan[12]), pelvic=about(plan[13], 0.15),
        eye=(plan[14][0], plan[14][1], about(plan[14][2], 0.1)), base=base, belly=_mix(base, white, rng.uniform(0.3, 0.9)), pattern=pattern,
        accent=accent, fin=fin, countershade=float(rng.uniform(0.2, 0.95)), motif=motif, count=count, width=float(rng.uniform(0.22, 0.5)),
        start=float(start), stop=float(stop), slant=float(rng.normal(0, 0.05)), taper=float(rng.uniform(0, 0.8)),
        outline=float(rng.choice([0.0, 0.8], p=[0.7, 0.3])), two_tone=two_tone, rear=_mix(pattern, accent, rng.uniform(0.0, 0.8)),
        tail_colour=_mix(fin, (base, pattern, accent)[int(rng.integers(3))], 0.6), eye_stripe=float(rng.choice([0.0, 0.03], p=[0.7, 0.3])),
        fin_edge=float(rng.choice([0.0, 0.25], p=[0.7, 0.3])), scales=float(rng.uniform(0.05, 0.3)), marks=_marks(rng, pattern, accent, 0.25),
    )  # fmt: skip
    return type_species, tuple(_TRAITS[i] for i in rng.permutation(len(_TRAITS))[:_NUM_TRAITS])


def _marks(rng: np.random.Generator, pattern: Colour, accent: Colour, chance: float) -> tuple[Mark, ...]:
    """One mark with probability ``chance``: shoulder spot, saddle, ocellus below the dorsal fin, or spot on the tail root."""
    kind, size, ringed = int(rng.integers(4)), float(rng.uniform(0.8, 1.25)), rng.random() < 0.4
    if rng.random() >= chance:
        return ()
    u, t, radius_u, radius_t = ((0.26, 0.35, 0.05, 0.24), (0.55, 0.92, 0.11, 0.5), (0.74, 0.72, 0.06, 0.3), (0.95, 0.05, 0.055, 0.75))[kind]
    return (Mark(u, t, radius_u * size, radius_t * size, pattern, accent if ringed else None),)


def _jitter(species: Species, rng: np.random.Generator) -> Species:
    """Change proportions and colours slightly, at random."""

    def about(value: float, spread: float = 0.025) -> float:
        return float(value * np.exp(rng.normal(0, spread)))

    def shade(colour: Colour, spread: float = 0.03) -> Colour:
        return _colour(np.asarray(colour) + rng.normal(0, spread, 3))

    return replace(species, depth=about(species.depth), peduncle=about(species.peduncle), tail_length=about(species.tail_length),
                   fork=about(species.fork),
                   width=about(species.width, 0.05), base=shade(species.base), belly=shade(species.belly), pattern=shade(species.pattern),
                   fin=shade(species.fin), tail_colour=shade(species.tail_colour))  # fmt: skip


def _change(species: Species, trait: str, rng: np.random.Generator) -> Species:
    """Change one diagnostic trait."""
    up = rng.random() < 0.5
    if trait == "count" and species.motif != "plain":
        step = max(1, round(species.count * 0.25))
        return replace(species, count=species.count + step if up or species.count <= 2 else species.count - step)
    if trait == "width" and species.motif != "plain":
        return replace(species, width=min(0.62, species.width * 1.5) if up else max(0.16, species.width / 1.5))
    if trait == "slant":
        return replace(species, slant=species.slant + (0.10 if up else -0.10))
    if trait == "eye_stripe":
        return replace(species, eye_stripe=0.0 if species.eye_stripe else 0.03)
    if trait == "tail_colour":
        return replace(species, tail_colour=_mix(_contrasting(rng, species.tail_colour, 0.4), species.tail_colour, 0.25))
    if trait == "two_tone":
        soft = float(rng.uniform(0.05, 0.25))
        return replace(
            species, two_tone=None if species.two_tone else (float(rng.uniform(0.6, 0.8)), soft), rear=_mix(species.rear, species.base, 0.25)
        )
    if trait == "hue":
        return replace(species, base=_mix(species.base, _COLOURS[int(rng.integers(len(_COLOURS)))], 0.3))
    if trait == "fin_edge":
        return replace(species, fin_edge=0.0 if species.fin_edge else 0.28)
    if trait == "proportions":
        factor = 1.13 if up else 1 / 1.13
        return replace(species, depth=species.depth * factor, tail_length=species.tail_length * factor, fork=min(0.8, species.fork + 0.15))
    return replace(species, marks=() if species.marks else _marks(rng, species.pattern, species.accent, 1.0))


def _contrasting(rng: np.random.Generator, colour: Colour, least: float) -> Colour:
    far = [other for other in _COLOURS if np.linalg.norm(np.subtract(other, colour)) >= least]
    return far[int(rng.integers(len(far)))]


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return _colour((1 - share) * np.asarray(a) + share * np.asarray(b))


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 0.03, 0.97).tolist()
    return (red, green, blue)
