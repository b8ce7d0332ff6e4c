"""Draws one fish of the reef: individual, pose, light and camera. Shapes are computed with NumPy for each pixel; edges are smoothed over one
pixel.

A picture depends only on the arguments of ``draw_individual``. The fish is described by implicit shapes in body coordinates: u runs
from snout (0) to tail root (1), v upwards in body lengths, t from belly (-1) to back (1).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from syntype.collection.reef_scenery import Scene, View, blur, clip01, cover_front, draw_scene, make_scene, to_levels
from syntype.collection.reef_species import Mark, Species, species_parameters

__all__ = ["draw_individual", "draw_mask"]

_STRIP = 16384  # number of pixels processed at a time
_LOW, _HIGH, _STEPS = -0.5, 2.0, 2560  # range of u in the outline tables, and their length


@dataclass(frozen=True)
class Individual:
    """Parameters that are the same in every frame of a track: fish, position, light and camera."""

    scene: Scene
    length: float  # of fish with tail, as a fraction of the image's side
    centre: tuple[float, float]
    flip: int
    roll: float  # radians
    yaw: float  # radians out of the image plane; the sign says whether the head is nearer
    bend: float
    depth: float  # depth, eye, fins: factors on the species' proportions
    eye: float
    fins: float
    shade: np.ndarray  # added to every colour of the fish
    vivid: float  # weight of pattern against base colour
    shift: float  # of the motif, in periods
    extra: int  # number of bars, stripes or spots, relative to the species
    wobble: np.ndarray  # 16 x 16 x 3 numbers in -1..1: irregularity of bars and spots
    light: float  # direct light from above
    exposure: float
    cast: np.ndarray  # colour of the light, RGB factors
    haze: float
    softness: float  # blur of the picture, as a fraction of the side
    noise: float
    jpeg: int  # JPEG quality; 0 for no compression


@dataclass(frozen=True)
class Outline:
    """Tables over u of the body's outline and of the heights of the dorsal and anal fin."""

    body: np.ndarray  # half-heights above and below the axis, then 1 / sqrt(1 + slope^2) of both: (4, steps)
    dorsal: np.ndarray
    anal: np.ndarray


def draw_individual(seed: int, purpose: int, species: int, individual: int, frame: int, size: int) -> np.ndarray:
    """Draw one frame of one individual: uint8, shape (size, size, 3), RGB.

    Args:
        seed: seed of the reef.
        purpose: number that separates the individuals of training, validation, test and oracle, so that they never share one.
        species: number of the species, from 0.
        individual, frame: number of the individual, and of the picture in its track.
        size: side in pixels.
    """
    parameters, fish, view, jitter, rng = _frame(seed, purpose, species, individual, frame)
    image, caustics = draw_scene(fish.scene, view, size)
    _paint_fish(image, parameters, _outline(seed, species), fish, jitter, caustics, size)
    cover_front(image, fish.scene, view)
    return _photograph(image, fish, fish.exposure * float(np.exp(0.04 * jitter[7])), rng, size)


def draw_mask(seed: int, purpose: int, species: int, individual: int, frame: int, size: int) -> np.ndarray:
    """Mask of the animal in the picture that ``draw_individual`` draws with the same arguments: bool, shape (size, size).

    True where the animal covers more than half of a pixel's background. Plants in front of the animal are not cut out of the mask.
    """
    parameters, fish, view, jitter, _ = _frame(seed, purpose, species, individual, frame)
    scene, caustics = draw_scene(fish.scene, view, size)
    grounds = np.zeros_like(scene), np.ones_like(scene)
    for ground in grounds:
        _paint_fish(ground, parameters, _outline(seed, species), fish, jitter, caustics, size)
    black, white = grounds
    return (white - black).mean(axis=0) < 0.5


def _frame(seed: int, purpose: int, species: int, individual: int, frame: int) -> tuple[Species, Individual, View, np.ndarray, np.random.Generator]:
    """Species, individual, camera, eight random numbers of the frame (all zero in frame 0), and the frame's random generator."""
    parameters = species_parameters(seed, species)
    fish = _individual(parameters, np.random.default_rng([seed, purpose, species, individual]))
    rng = np.random.default_rng([seed, purpose, species, individual, frame + 1])
    jitter = rng.normal(0, 1, 8) * (frame > 0)
    return parameters, fish, View(0.03 * jitter[0], 0.02 * jitter[1]), jitter, rng


def _individual(species: Species, rng: np.random.Generator) -> Individual:
    scene = make_scene(rng)
    juvenile = rng.random() < 0.15
    length = float(np.clip(rng.normal(0.93, 0.11), 0.58, 1.12)) * (0.75 if juvenile else 1.0)
    room = max(0.06, 0.5 - 0.42 * length)
    steep = rng.random() < 0.08
    turbid = rng.random() < 0.15
    return Individual(
        scene=scene, length=length, centre=(0.5 + float(rng.uniform(-room, room)) * 0.8, 0.5 + float(rng.normal(0, 0.07))),
        flip=1 if rng.random() < 0.5 else -1, roll=float(rng.normal(0, 0.40 if steep else 0.13)), yaw=float(np.clip(rng.normal(0, 0.36), -1.0, 1.0)),
        bend=float(rng.normal(0, 0.13)), depth=float(np.exp(rng.normal(0, 0.04))), eye=1.3 if juvenile else float(np.exp(rng.normal(0, 0.05))),
        fins=float(rng.uniform(0.35, 1.1)), shade=rng.normal(0, 0.028, 3) + rng.normal(0, 0.03) + (0.05 if juvenile else 0.0),
        vivid=float(rng.uniform(0.7, 1.0)), shift=float(rng.normal(0, 0.10)), extra=int(rng.choice([-1, 0, 1], p=[0.06, 0.88, 0.06])),
        wobble=rng.uniform(-1, 1, (16, 16, 3)).astype(np.float32), light=float(rng.uniform(0.2, 0.75)), exposure=float(np.exp(rng.normal(0, 0.14))),
        cast=np.exp(rng.normal(0, 0.05, 3) + rng.uniform(0, 0.18) * np.array([-1.0, 0.1, 0.35])),
        haze=float(rng.uniform(0.2, 0.42) if turbid else rng.uniform(0, 0.12)),
        softness=float(rng.gamma(1.5, 0.0018)), noise=float(rng.gamma(1.5, 0.0038)), jpeg=int(rng.integers(30, 90)) if rng.random() < 0.6 else 0,
    )  # fmt: skip


@lru_cache(maxsize=512)
def _outline(seed: int, number: int) -> Outline:
    species = species_parameters(seed, number)
    u = np.linspace(_LOW, _HIGH, _STEPS)
    inside = np.clip(u, 1e-6, 1 - 1e-6)
    end = species.peduncle * species.depth / 2

    def half(snout: float, share: float) -> np.ndarray:
        peak = species.peak
        rear = snout * (1 - peak) / peak  # so that the greatest height is at `peak`
        hump = (inside / peak) ** snout * ((1 - inside) / (1 - peak)) ** rear
        height = share * species.depth * (1 - species.peduncle) * hump + end * (1 - np.exp(-inside / 0.12))
        return np.where(u < 0, u, np.where(u > 1, end - 1.3 * (u - 1), height))

    top, bottom = half(species.snout_top, 0.52), half(species.snout_bottom, 0.48)

    def fin(base: tuple[float, float, float, float]) -> np.ndarray:
        first, last, height, peak = base
        x = np.clip((u - first) / (last - first), 0, 1)
        rise, fall = 0.55 if peak < 0.5 else 0.9, 0.9 if peak < 0.5 else 0.55
        sail = (x / peak) ** rise * (x < peak) + ((1 - x) / (1 - peak)) ** fall * (x >= peak)
        return np.where((u > first) & (u < last), height * (0.45 * sail + 0.55 * sail**2), -0.5)

    def flatness(values: np.ndarray) -> np.ndarray:
        return 1 / np.sqrt(1 + np.gradient(values, u) ** 2)

    body = np.stack([top, bottom, flatness(top), flatness(bottom)])
    return Outline(body.astype(np.float32), fin(species.dorsal).astype(np.float32), fin(species.anal).astype(np.float32))


def _look(tables: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Interpolate linearly in outline tables of shape (..., steps); returns shape (..., *u.shape)."""
    place = (u - np.float32(_LOW)) * np.float32((_STEPS - 1) / (_HIGH - _LOW))
    place = np.minimum(np.maximum(place, np.float32(0)), np.float32(_STEPS - 1.001))
    index = place.astype(np.int32)
    below = tables.take(index, axis=-1)
    return below + (place - index) * (tables.take(index + 1, axis=-1) - below)


def _step(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Coverage, 0..1, of a pixel at signed distance ``distance`` from an edge (positive inside)."""
    return clip01(distance * np.float32(1 / pixel) + np.float32(0.5))


def _line(distance: np.ndarray, half_width: float, pixel: float) -> np.ndarray:
    """Coverage, 0..1, of a pixel at unsigned ``distance`` from a line. Lines thinner than a pixel become fainter."""
    return _step(half_width - distance, pixel) * np.float32(min(1.0, 2 * half_width / pixel))


def _blend(image: np.ndarray, cover: np.ndarray, colour: Sequence[float] | np.ndarray) -> None:
    """Blend a colour into ``image`` (3, height, width) in place, with opacity ``cover`` (height, width) in 0..1."""
    image += cover * (_plane(colour) - image)


def _plane(colour: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.asarray(colour, np.float32).reshape(3, 1, 1)


def _paint_fish(image: np.ndarray, species: Species, outline: Outline, fish: Individual, jitter: np.ndarray, caustics: np.ndarray, size: int) -> None:
    """Draw the fish into ``image`` (float32, RGB in 0..1) in place."""
    roll, yaw = fish.roll + 0.07 * jitter[2], float(np.clip(fish.yaw + 0.10 * jitter[3], -1.1, 1.1))
    length = fish.length * float(np.exp(0.04 * jitter[4]))
    centre_x, centre_y = fish.centre[0] + 0.035 * jitter[5], fish.centre[1] + 0.03 * jitter[6]
    whole = 1 + species.tail_length
    unit = length / whole  # body length as a fraction of the side
    unit *= min(1.0, 0.92 / (unit * (species.depth + species.dorsal[2] + species.anal[2])))  # tall fishes must fit into the picture, too
    # Only rows that the fish can reach are processed, a few at a time, so that the arrays of a strip fit into the processor's cache.
    high = 1.25 * (species.depth * 0.65 + max(species.dorsal[2], species.tail_height) + 0.12) + abs(fish.bend) * (whole - 0.4) ** 2
    reach = unit * (high + whole * 0.5 * abs(np.sin(roll))) + 0.02
    first, last = int(np.clip((centre_y - reach) * size, 0, size)), int(np.clip((centre_y + reach) * size + 1, 0, size))
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
    step = max(8, _STRIP // size)
    for start in range(first, last, step):
        rows = slice(start, min(start + step, last))
        x, y = axis[None, :] - np.float32(centre_x), axis[rows, None] - np.float32(centre_y)
        u = (x * cos + y * sin) * np.float32(fish.flip / (unit * np.cos(yaw))) + np.float32(whole / 2)
        v = (x * sin - y * cos) * np.float32(1 / unit)
        along = np.minimum(np.maximum(u, np.float32(0)), np.float32(1.5))
        v = v / (1 + np.float32(0.5 * np.sin(yaw)) * (np.float32(0.5) - along))  # the nearer end looks larger
        v = (v - np.float32(fish.bend) * np.square(np.maximum(u - np.float32(0.4), np.float32(0)))) * np.float32(1 / fish.depth)
        _paint_strip(image[:, rows], species, outline, fish, u, v, caustics[rows], 1 / (size * unit))


def _paint_strip(area: np.ndarray, species: Species, outline: Outline, fish: Individual, u: np.ndarray, v: np.ndarray, caustics: np.ndarray,
                 pixel: float) -> None:  # fmt: skip
    """Paint the pixels with body coordinates ``u``, ``v`` into ``area`` in place; ``pixel`` is a pixel's side in body lengths."""
    top, bottom, flat_top, flat_bottom = _look(outline.body, u)
    body = _step(np.minimum((top - v) * flat_top, (v + bottom) * flat_bottom), pixel)
    half = np.maximum((top + bottom) * np.float32(0.5), np.float32(0.02))
    t = np.minimum(np.maximum((v - (top - bottom) * np.float32(0.5)) / half, np.float32(-1.6)), np.float32(1.6))

    motif = _motif(species, fish, u, v, t, pixel)
    fins, tail, margin, rays = _fins(species, outline, fish, u, v, top, bottom, pixel)
    shade = _plane(fish.shade)

    fin_colour = _plane(species.fin) + tail * (_plane(species.tail_colour) - _plane(species.fin))
    if species.motif == "bars":
        _blend(fin_colour, motif * np.float32(0.5 * fish.vivid) * (1 - tail), species.pattern)
    _blend(fin_colour, margin, species.accent)
    fin_colour = (fin_colour + shade) * (np.float32(0.88) + np.float32(0.12) * rays)

    skin = np.empty((3, *u.shape), np.float32)
    skin[:] = _plane(species.base)
    if species.two_tone is not None:
        start, soft = species.two_tone
        _blend(skin, _step(u + np.float32(species.slant) * t - start, max(soft, pixel)), species.rear)
    _blend(skin, np.float32(species.countershade) * clip01(np.float32(-0.15) - t), species.belly)
    _blend(skin, motif * np.float32(fish.vivid), species.pattern)
    if species.outline and species.motif in ("bars", "stripes"):
        _blend(skin, 4 * motif * (1 - motif) * np.float32(species.outline * 0.7), species.accent)
    for mark in species.marks:
        _paint_mark(skin, mark, u, t, fish, pixel)
    eye_u, eye_v, eye_radius = _eye(species, outline, fish)
    if species.eye_stripe:
        distance = np.abs(u - np.float32(eye_u) + np.float32(0.12) * (v - np.float32(eye_v)))
        _blend(skin, _step(species.eye_stripe - distance, max(pixel, 0.012)) * np.float32(fish.vivid), species.pattern)
    skin += shade
    _details(skin, species, u, v, t, pixel)
    round_ = np.sqrt(np.maximum(1 - np.square(t), np.float32(0.04)))
    lit = (
        np.float32(1.02 - 0.36 * fish.light)
        + np.float32(0.36 * fish.light) * np.minimum(np.maximum(t, np.float32(-1)), np.float32(1))
        - np.float32(0.40) * (1 - round_)
    )
    gloss = np.float32(0.16 * fish.light) * np.exp(np.float32(-14) * np.square(t - np.float32(0.5)))
    skin *= lit + caustics * clip01(t) * np.float32(0.8)
    skin += gloss

    fin_colour += body * (skin - fin_colour)
    _paint_eye(fin_colour, u, v, eye_u, eye_v, eye_radius, species, pixel)
    _pectoral(fin_colour, species, fish, u, v, body, pixel)
    opacity = np.maximum(body, np.float32(0.86) * fins)
    area += opacity * (fin_colour - area)


def _fins(species: Species, outline: Outline, fish: Individual, u: np.ndarray, v: np.ndarray, top: np.ndarray, bottom: np.ndarray,
          pixel: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Coverage of all unpaired and pelvic fins together, of the tail fin, and of the coloured margin, and the pattern of fin rays (-1..1)."""
    root = species.peduncle * species.depth / 2
    lean = np.float32(species.lean)
    above, below = v - np.maximum(top, 0), -v - np.maximum(bottom, 0)
    along_top, along_bottom = u - lean * clip01(above), u - lean * clip01(below)
    high, low = _look(outline.dorsal, along_top) * np.float32(fish.fins), _look(outline.anal, along_bottom) * np.float32(fish.fins)
    dorsal = _step(np.minimum(high - above, above + np.float32(0.03)) * np.float32(0.8), pixel)
    anal = _step(np.minimum(low - below, below + np.float32(0.03)) * np.float32(0.8), pixel)

    spread = species.tail_height * (0.8 + 0.25 * fish.fins)
    x = (u - np.float32(0.93)) * np.float32(1 / (species.tail_length + 0.07))
    width = np.float32(root) + np.float32(spread - root) * clip01(x) ** np.float32(species.flare)
    r = np.minimum(np.abs(v) * np.float32(1 / spread), 1.2)
    rear = 1 - np.float32(species.fork) * (1 - r ** np.float32(1.4)) - np.float32(species.rounding) * np.square(r)
    to_rear, to_edge = (rear - x) * np.float32(species.tail_length * 0.7), (width - np.abs(v)) * np.float32(0.8)
    tail = _step(np.minimum(np.minimum(to_rear, to_edge), x), pixel)

    s = (u - np.float32(0.36)) * np.float32(0.5) + (-v - bottom) * np.float32(0.87)  # along the pelvic fin
    across = np.abs((u - np.float32(0.36)) * np.float32(0.87) - (-v - bottom) * np.float32(0.5))
    reach = species.pelvic * (0.5 + 0.5 * fish.fins)
    leaf = np.float32(0.05) * np.sqrt(clip01(1 - s * np.float32(1 / reach))) - across
    pelvic = _step(np.minimum(np.minimum(leaf, np.float32(reach) - s), s + np.float32(0.04)), pixel)

    cover = np.maximum(np.maximum(dorsal, anal), np.maximum(tail, pelvic))
    margin = np.zeros_like(u)
    if species.fin_edge:
        edge = np.float32(species.fin_edge)
        margin = np.maximum(_step(above - high * (1 - edge), pixel) * dorsal, _step(below - low * (1 - edge), pixel) * anal)
        margin = np.maximum(margin, _step(np.float32(0.4) * edge * species.tail_length - to_rear, pixel) * tail)
    period = 0.024
    strength = np.float32(np.clip(1.6 - 4 * pixel / period, 0, 1))
    if strength == 0:
        return cover, tail, margin, np.zeros_like(u)
    fan = np.where(x > 0.1, v / np.maximum(width, np.float32(0.02)) * np.float32(0.16), np.where(v > 0, along_top, along_bottom))
    return cover, tail, margin, strength * np.sin(np.float32(2 * np.pi / period) * fan)


def _motif(species: Species, fish: Individual, u: np.ndarray, v: np.ndarray, t: np.ndarray, pixel: float) -> np.ndarray:
    """Weight of the pattern colour, 0..1."""
    if species.motif == "plain":
        return np.zeros_like(u)
    count = max(1, species.count + (fish.extra if species.count >= 4 else 0))
    irregular = fish.wobble[0, :, 0]
    if species.motif in ("bars", "stripes"):
        period = (species.stop - species.start) / count
        if species.motif == "bars":
            place = u + np.float32(species.slant) * t + np.float32(0.02) * np.square(t)
        else:
            place = np.float32(1.0) * t + np.float32(species.slant) * (u - np.float32(0.5))
        phase = (place - np.float32(species.start)) * np.float32(1 / period) - np.float32(0.5 + fish.shift)
        which = np.minimum(np.maximum(np.rint(phase), np.float32(0)), np.float32(count - 1))
        centre = which + np.float32(0.13) * irregular.take(which.astype(np.int32) & 15)
        width = np.full_like(t, 0.5 * species.width)
        if species.motif == "bars":
            width = width * (1 - np.float32(species.taper * 0.4) * (1 - t))
        cover = _step((width - np.abs(phase - centre)) * np.float32(period), max(pixel if species.motif == "bars" else 2.5 * pixel, 0.012))
        return cover if species.motif == "bars" else cover * clip01(u * 14 - 1)
    cell = 1.05 / count
    i = np.floor(u * np.float32(1 / cell) + np.float32(fish.shift))
    rows = v * np.float32(1 / cell) + np.float32(0.5) * (i % 2) + np.float32(fish.shift)
    j = np.floor(rows)
    at = (i.astype(np.int32) & 15) * 16 + (j.astype(np.int32) & 15)
    away_u = u * np.float32(1 / cell) + np.float32(fish.shift) - i - np.float32(0.5) - np.float32(0.16) * fish.wobble[:, :, 0].ravel().take(at)
    away_v = rows - j - np.float32(0.5) - np.float32(0.16) * fish.wobble[:, :, 1].ravel().take(at)
    distance = np.sqrt(np.square(away_u) + np.square(away_v))
    if species.motif == "net":  # dark lines between pale scales
        return np.float32(0.75) * _step((distance - np.float32(0.62 - 0.45 * species.width)) * np.float32(cell), max(2 * pixel, 0.15 * cell))
    radius = np.float32(0.16 + 0.42 * species.width) * (1 + np.float32(0.25) * fish.wobble[:, :, 2].ravel().take(at))
    spots = _step((radius - distance) * np.float32(cell), max(pixel, 0.10 * cell))
    return spots * clip01((t - np.float32(species.start)) * 6 + np.float32(0.5))


def _paint_mark(skin: np.ndarray, mark: Mark, u: np.ndarray, t: np.ndarray, fish: Individual, pixel: float) -> None:
    slip = fish.wobble[1, 0]
    distance = np.sqrt(np.square((u - np.float32(mark.u + 0.012 * slip[0])) * np.float32(1 / mark.radius_u))
                       + np.square((t - np.float32(mark.t + 0.06 * slip[1])) * np.float32(1 / mark.radius_t)))  # fmt: skip
    soft = max(pixel, 0.012)
    if mark.ring is not None:
        _blend(skin, _step((np.float32(1.35) - distance) * mark.radius_u, soft), mark.ring)
    _blend(skin, _step((1 - distance) * mark.radius_u, soft) * np.float32(0.5 + 0.5 * fish.vivid), mark.colour)


def _details(skin: np.ndarray, species: Species, u: np.ndarray, v: np.ndarray, t: np.ndarray, pixel: float) -> None:
    """Draw scales, gill cover, mouth and lateral line in place. In small pictures they are faint or absent."""
    period = 0.026
    strength = np.float32(species.scales * np.clip(1.6 - 4 * pixel / period, 0, 1))
    dark = np.zeros_like(u)
    if strength > 0:
        turns = np.float32(np.pi / period)
        dark += strength * np.square(np.sin(turns * (u + v)) * np.sin(turns * (u - v))) * clip01(u * 8 - np.float32(1.5))
    gill = np.abs(np.sqrt(np.square(u - np.float32(0.10)) + np.square(t * np.float32(0.16))) - np.float32(0.15))
    dark += np.float32(0.35) * _line(gill, 0.005, pixel) * (u > 0.13) * clip01(np.float32(4.5) - 5 * np.abs(t))
    dark += np.float32(0.55) * _line(np.abs(v + np.float32(0.03) + np.float32(0.25) * u), 0.006, pixel) * (u < 0.075)
    dark += np.float32(0.15) * _line(np.abs(t - np.float32(0.28) + np.float32(0.25) * u) * np.float32(0.2), 0.003, pixel) * (u > 0.27)
    skin *= 1 - dark


def _eye(species: Species, outline: Outline, fish: Individual) -> tuple[float, float, float]:
    u, share, radius = species.eye
    at = round((u - _LOW) / (_HIGH - _LOW) * (_STEPS - 1))
    top, bottom = float(outline.body[0, at]), float(outline.body[1, at])
    return u, (top - bottom) / 2 + share * (top + bottom) / 2, min(radius * fish.eye, 0.3 * (top + bottom))


def _paint_eye(image: np.ndarray, u: np.ndarray, v: np.ndarray, eye_u: float, eye_v: float, radius: float, species: Species, pixel: float) -> None:
    distance = np.sqrt(np.square(u - np.float32(eye_u)) + np.square(v - np.float32(eye_v)))
    ring = 0.5 * np.asarray(species.accent) + 0.45
    _blend(image, _step(radius - distance, pixel), ring)
    _blend(image, _step(0.62 * radius - distance, pixel), (0.02, 0.02, 0.03))
    glint = np.sqrt(np.square(u - np.float32(eye_u + 0.18 * radius)) + np.square(v - np.float32(eye_v + 0.25 * radius)))
    _blend(image, _line(glint, 0.14 * radius, pixel), (0.95, 0.97, 1.0))


def _pectoral(image: np.ndarray, species: Species, fish: Individual, u: np.ndarray, v: np.ndarray, body: np.ndarray, pixel: float) -> None:
    angle = 0.35 + 0.7 * fish.fins
    du, dv = u - np.float32(0.30), v + np.float32(0.10 * species.depth)
    s, n = du * np.float32(np.cos(angle)) - dv * np.float32(np.sin(angle)), du * np.float32(np.sin(angle)) + dv * np.float32(np.cos(angle))
    long, wide = 0.10 + 0.09 * species.depth, 0.03 + 0.05 * species.depth
    distance = np.sqrt(np.square((s - np.float32(long)) * np.float32(1 / long)) + np.square(n * np.float32(1 / (wide * 0.9))))
    _blend(image, np.float32(0.55) * _step((1 - distance) * np.float32(wide), pixel) * body, np.asarray(species.fin) * 0.85 + fish.shade)


def _photograph(image: np.ndarray, fish: Individual, exposure: float, rng: np.random.Generator, size: int) -> np.ndarray:
    """Add the effects of water, drifting particles, light, lens, sensor and JPEG compression: uint8, shape (size, size, 3)."""
    scene = fish.scene
    veil = 0.6 * _plane(scene.top) + 0.4 * _plane(scene.deep)
    image += np.float32(fish.haze) * (veil - image)
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    snow = (scene.snow + rng.normal(0, 0.03, (len(scene.snow), 4)) * (1, 1, 0, 0)).astype(np.float32)
    if len(snow):
        spread = np.square(snow[:, 2:3]) + np.float32(0.1 / size**2)
        across, down = (np.exp(-np.square(axis - snow[:, place : place + 1]) / spread) for place in (0, 1))
        flakes = np.einsum("ny,nx->yx", down * snow[:, 3:] * np.square(snow[:, 2:3]) / spread, across)
        image += clip01(flakes) * (np.float32(0.95) - image)
    vignette = 1 - np.float32(0.22) * (np.square(axis[:, None] - np.float32(0.5)) + np.square(axis - np.float32(0.5)))
    image = blur(image * _plane(exposure * fish.cast) * vignette, fish.softness)
    grain = rng.standard_normal((1, size, size), dtype=np.float32) + np.float32(0.5) * rng.standard_normal((3, size, size), dtype=np.float32)
    pixels = to_levels(image + np.float32(fish.noise) * grain)
    if not fish.jpeg:
        return pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=fish.jpeg)
    return np.asarray(Image.open(buffer))
