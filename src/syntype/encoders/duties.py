"""Which encoder does which work, so that nothing is judged by what trained or chose it.

=============  ==========================================================  ========
duty           work                                                        encoder
=============  ==========================================================  ========
``generate``   train generators (features that a loss or an image uses)    lite1
``curate``     choose synthetic images (species margin, typicality)        lite2
``classify``   identify species: the classifier, and the study's arms      lite2
``judge``      measure how like photographs synthetic images are           lite0
=============  ==========================================================  ========

``curate`` and ``classify`` may share an encoder: the study compares arms that all have the same classifier. All other pairs are apart. A generator
that was trained to please an encoder looks better to that encoder than it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from syntype.errors import RecipeError

__all__ = ["DUTIES", "check_duties", "duty_conflict", "may_generate", "same_encoder"]

DUTIES: Mapping[str, str] = {"generate": "lite1", "curate": "lite2", "classify": "lite2", "judge": "lite0"}
"""The encoder of each duty, unless another is chosen."""
_WORDS = {
    "generate": "train generators",
    "curate": "choose synthetic images",
    "classify": "identify species",
    "judge": "measure how like photographs synthetic images are",
}
_TOGETHER = {"curate", "classify"}
"""Duties that one encoder may have."""


def same_encoder(one: str, other: str) -> bool:
    """Whether two names stand for the same encoder, as far as names tell: a bundled one has a name in timm too.

    Example:
        >>> same_encoder("lite0", "timm:tf_efficientnet_lite0.in1k"), same_encoder("timm:resnet18.a1_in1k", "timm:resnet18.tv_in1k")
        (True, False)
    """
    return _canonical(one) == _canonical(other)


def duty_conflict(*, generate: str | None = None, curate: str | None = None, classify: str | None = None, judge: str | None = None) -> str | None:
    """One sentence if an encoder would have two duties that must be apart, with what to do; None if all is well. See ``check_duties``."""
    given = {"generate": generate, "curate": curate, "classify": classify, "judge": judge}
    names = {duty: name or DUTIES[duty] for duty, name in given.items()}
    for pair in combinations(DUTIES, 2):
        if set(pair) == _TOGETHER or not same_encoder(*(names[duty] for duty in pair)):
            continue
        wrong, other = pair if given[pair[0]] is not None else pair[::-1]  # the one that was chosen can be changed
        return (
            f"the encoder {names[wrong]!r} cannot be used to {_WORDS[wrong]}, because it is used to {_WORDS[other]}, and images look better than "
            f"they are to the encoder that made or chose them. Choose another, for example {DUTIES[wrong]!r}."
        )
    return None


def may_generate(name: str) -> str:
    """The name of an encoder that trains generators, as a pydantic validator of the setting that names it.

    Raises:
        ValueError: it has another duty that must be apart.
    """
    if conflict := duty_conflict(generate=name):
        raise ValueError(conflict)
    return name


def check_duties(*, generate: str | None = None, curate: str | None = None, classify: str | None = None, judge: str | None = None) -> None:
    """Refuse one encoder for two duties that must be apart. The table in this module's description says which may be together.

    Args:
        generate: Name of the encoder that trains generators, as for ``build_backbone``. None, as for the others: that of the table.
        curate: That of curation.
        classify: Backbone of the classifier.
        judge: That of the fidelity figures.

    Raises:
        RecipeError: Two duties that must be apart have the same encoder; the message says which, and what to choose instead.

    Example:
        >>> check_duties(judge="open_clip:hf-hub:imageomics/bioclip-2")
        >>> check_duties(judge="lite2")
        Traceback (most recent call last):
        ...
        syntype.errors.RecipeError: the encoder 'lite2' cannot be used to measure how like photographs synthetic images are, because it is used to \
choose synthetic images, and images look better than they are to the encoder that made or chose them. Choose another, for example 'lite0'.
    """
    conflict = duty_conflict(generate=generate, curate=curate, classify=classify, judge=judge)
    if conflict is not None:
        raise RecipeError(conflict)


def _canonical(name: str) -> str:
    """The bundled name of a timm network that is also bundled, with whatever weights; else the name itself."""
    if name.startswith("timm:"):
        model = name.removeprefix("timm:").split(":")[0].partition(".")[0]
        if model.startswith("tf_efficientnet_lite"):
            return model.removeprefix("tf_efficientnet_")
    return name
