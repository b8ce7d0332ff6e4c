"""One encoder never has two duties that must be apart."""

from __future__ import annotations

import pytest

from syntype.encoders import DUTIES, check_duties, same_encoder
from syntype.errors import RecipeError
from syntype.generators.families.projected import ProjectedConfig


def test_the_encoders_of_the_table_go_together() -> None:
    check_duties()
    check_duties(**DUTIES)
    check_duties(curate="open_clip:ViT-B-16:weights.pt", classify="open_clip:ViT-B-16:weights.pt")  # these two may share one


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"judge": "lite2"}, "'lite2' cannot be used to measure how like photographs synthetic images are, because it is used to choose"),
        ({"judge": "timm:tf_efficientnet_lite1.in1k"}, "because it is used to train generators.*for example 'lite0'"),
        ({"curate": "lite0"}, "'lite0' cannot be used to choose synthetic images.*for example 'lite2'"),
        ({"classify": "timm:tf_efficientnet_lite0:weights.pth"}, "cannot be used to identify species"),
        ({"generate": "lite2"}, "'lite2' cannot be used to train generators"),
        ({"generate": "lite1", "curate": "lite1"}, "'lite1' cannot be used to train generators, because it is used to choose"),
        ({"judge": "open_clip:ViT-B-16", "curate": "open_clip:ViT-B-16"}, "cannot be used to choose synthetic images"),
    ],
)
def test_duties_that_must_be_apart_are_refused_with_what_to_do(chosen: dict[str, str], told: str) -> None:
    with pytest.raises(RecipeError, match=told) as error:
        check_duties(**chosen)
    assert "\n" not in str(error.value) and "Choose another" in str(error.value)


def test_an_encoder_is_the_same_under_its_name_in_timm() -> None:
    assert same_encoder("lite1", "timm:tf_efficientnet_lite1.in1k:weights.safetensors")
    assert not same_encoder("timm:resnet18:one.pth", "timm:resnet18:other.pth")


def test_a_generator_is_not_trained_with_the_encoder_that_judges_or_curates_it() -> None:
    with pytest.raises(RecipeError, match=r"backbone.*cannot be used to train generators"):
        ProjectedConfig.parse({"backbone": "lite0"})
