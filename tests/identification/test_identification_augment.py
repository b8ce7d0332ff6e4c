from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageEnhance

from syntype.collection.pixels import digest_images
from syntype.compute.tensors import to_tensor, to_uint8
from syntype.identification.augment import AugmentConfig, augment
from syntype.identification.features import augmented_view
from syntype.identification.mixing import cutmix, mixup

STILL = AugmentConfig(flip=False, shift=0, zoom=0, rotation=0, brightness=0, contrast=0, saturation=0, tint=0)
IMAGES = np.random.default_rng(0).integers(0, 256, size=(4, 16, 16, 3), dtype=np.uint8)


def test_with_every_change_off_images_stay_as_they_are() -> None:
    uniform = torch.rand(4, AugmentConfig().num_uniform, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(augment(to_tensor(IMAGES), uniform, STILL), to_tensor(IMAGES), atol=1e-5, rtol=0)


def test_each_change_does_what_it_says() -> None:
    images = to_tensor(IMAGES)
    middle = torch.full((4, AugmentConfig().num_uniform), 0.5)  # no change

    def changed(column: int, value: float, **settings: float | bool) -> torch.Tensor:
        uniform = middle.clone()
        uniform[:, column] = value
        return augment(images, uniform, STILL.model_copy(update=settings))

    torch.testing.assert_close(changed(2, 0.2, flip=True), images.flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(changed(3, 0.2, vertical_flip=True), images.flip(-2), atol=1e-5, rtol=0)
    shifted = changed(4, 1.0, shift=0.25)  # a quarter of 16 pixels
    torch.testing.assert_close(shifted[..., :12], images[..., 4:], atol=1e-5, rtol=0)
    torch.testing.assert_close(changed(0, 1.0, rotation=90.0), torch.rot90(images, 1, (2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(changed(6, 0.0, brightness=0.5), (images + 1) * 0.5 - 1, atol=1e-5, rtol=0)
    grey = changed(8, 0.0, saturation=0.999999)
    torch.testing.assert_close(grey[:, 0], grey[:, 2], atol=1e-3, rtol=0)
    assert augment(images * 3, torch.rand(4, AugmentConfig().num_uniform), AugmentConfig()).abs().max() <= 1


def test_a_view_depends_on_the_image_and_the_number_alone() -> None:
    digests, config = digest_images(IMAGES), AugmentConfig()
    whole = augmented_view(IMAGES, digests, 3, config)
    torch.testing.assert_close(augmented_view(IMAGES[[2]], [digests[2]], 3, config), whole[[2]])
    assert not torch.equal(augmented_view(IMAGES, digests, 4, config), whole)
    torch.testing.assert_close(augmented_view(IMAGES, digests, 0, config), to_tensor(IMAGES))
    torch.testing.assert_close(augmented_view(IMAGES, digests, 1, config), to_tensor(IMAGES).flip(-1))


def test_cutmix_pastes_a_rectangle_and_reports_the_area_that_remains() -> None:
    own, other = torch.zeros(50, 3, 32, 32), torch.ones(50, 3, 32, 32)
    random = np.random.default_rng(0)
    mixed, kept = cutmix(own, other, random.random(50), random.random((50, 2)))
    torch.testing.assert_close(1 - mixed.mean(dim=(1, 2, 3)), kept, atol=1e-5, rtol=0)
    whole, all_kept = cutmix(own, other, np.ones(50), random.random((50, 2)))
    assert whole.sum() == 0 and (all_kept == 1).all()


def test_mixup_keeps_the_share() -> None:
    share = torch.tensor([0.25, 1.0])
    torch.testing.assert_close(mixup(torch.zeros(2, 3), torch.ones(2, 3), share), torch.tensor([[0.75] * 3, [0.0] * 3]))


def test_sharpness_is_pillows() -> None:
    """The unchanged half of the way to the smoothed image, and beyond the image, against ``PIL.ImageEnhance.Sharpness``."""
    config = STILL.model_copy(update={"sharpness": 1.0})
    for number, factor in ((0.25, 0.5), (0.5, 1.0), (0.75, 1.5)):
        uniform = torch.full((1, config.num_uniform), 0.5)
        uniform[0, 12] = number
        ours = to_uint8(augment(to_tensor(IMAGES[:1]), uniform, config))[0]
        theirs = np.asarray(ImageEnhance.Sharpness(Image.fromarray(IMAGES[0])).enhance(factor))
        np.testing.assert_allclose(ours[1:-1, 1:-1].astype(int), theirs[1:-1, 1:-1].astype(int), atol=2)  # it leaves the edge as it is
