import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from cbam_ablate.data import augment, mix
from cbam_ablate.torchvision_shim import import_torchvision

import_torchvision()
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as vision  # noqa: E402


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.randint(0, 256, (12, 16, 16, 3), dtype=torch.uint8, generator=stream())


def test_every_crop_and_both_flips_are_drawn_equally_often():
    drawn = augment.crops(50_000, 2, True, stream())
    cells = drawn[:, 0] * 10 + drawn[:, 1] * 2 + drawn[:, 2]
    assert stats.chisquare(cells.bincount(minlength=50)).pvalue > 1e-3


def test_turns_equal_torchvisions(images):
    drawn = augment.warps(12, 40.0, 0.0, stream(3))
    turned = augment.warp(images, drawn).permute(0, 3, 1, 2)
    degrees = [
        math.degrees(math.atan2(row[0, 1], row[0, 0])) for row in drawn.tolist() for row in [np.array(row)]
    ]
    assert max(map(abs, degrees)) > 10
    for image, result, angle in zip(images, turned, degrees, strict=True):
        x = image.permute(2, 0, 1).float()
        expected = vision.rotate(x, -angle, interpolation=v2.InterpolationMode.BILINEAR)
        assert torch.allclose(result, expected, atol=1e-2)


def test_turns_and_shifts_equal_torchvisions_affine(images, monkeypatch):
    turn, x, y = 0.7, -0.5, 0.25
    values = torch.tensor([turn, x, y])[:, None].expand(3, 12)
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda *_, **__: values)
    drawn = augment.warps(12, 30.0, 0.25, stream())
    moved = augment.warp(images, drawn).permute(0, 3, 1, 2)
    expected = vision.affine(
        images.permute(0, 3, 1, 2).float(),
        angle=30 * turn,
        translate=[16 * 0.25 * x, 16 * 0.25 * y],
        scale=1.0,
        shear=[0.0, 0.0],
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    assert torch.allclose(moved, expected, atol=1e-2)


def test_turns_and_shifts_fill_their_range():
    drawn = augment.warps(20_000, 15.0, 0.1, stream())
    degrees = torch.rad2deg(torch.atan2(drawn[:, 0, 1], drawn[:, 0, 0]))
    assert stats.kstest(degrees.numpy(), stats.uniform(-15, 30).cdf).pvalue > 1e-3
    shifts = -(drawn[:, :, :2].transpose(1, 2) @ drawn[:, :, 2:]).squeeze(2) / 2
    for axis in (0, 1):
        assert stats.kstest(shifts[:, axis].numpy(), stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3


def test_whole_pixel_shifts_move_images_exactly(images):
    drawn = torch.tensor([[1.0, 0.0, -2 * 3 / 16], [0.0, 1.0, 2 * 2 / 16]]).expand(12, 2, 3)
    moved = augment.warp(images, drawn)
    assert torch.allclose(moved[:, :14, 3:], images[:, 2:, :13].float(), atol=1e-3)
    assert moved[:, 14:].abs().max() < 1e-3
    assert moved[:, :, :3].abs().max() < 1e-3


def test_erasing_equals_torchvisions_erase():
    x = torch.randn(40, 3, 32, 32, generator=stream())
    drawn = augment.boxes(40, 0.7, 32, stream(1))
    erased = augment.erase(x, drawn)
    for image, result, (top, left, bottom, right) in zip(x, erased, drawn.tolist(), strict=True):
        value = torch.zeros(1, 1, 1)
        assert torch.equal(result, vision.erase(image, top, left, bottom - top, right - left, value))


def test_erasing_follows_its_probability_area_and_aspect():
    top, left, bottom, right = augment.boxes(40_000, 0.3, 224, stream()).T
    tall, wide = bottom - top, right - left
    hit = tall > 0
    assert stats.binomtest(int(hit.sum()), 40_000, 0.3).pvalue > 1e-3
    assert ((top >= 0) & (left >= 0) & (bottom <= 224) & (right <= 224)).all()
    area, aspect = (tall * wide)[hit] / 224**2, (tall[hit] / wide[hit]).double()
    assert 0.019 < area.min() < 0.025
    assert 0.32 < area.max() < 0.35
    assert 0.28 < aspect.min() < 0.32
    assert (
        stats.kstest(
            aspect.log().numpy(), stats.uniform(-math.log(1 / 0.3), 2 * math.log(1 / 0.3)).cdf
        ).statistic
        < 0.05
    )


def test_torchvisions_erasing_keeps_to_its_areas_and_ratios():
    """Drawn of an image of 100,000 pixels a side, where rounding to whole pixels is nothing."""
    size, count = 100_000, 200_000
    top, left, bottom, right = augment.boxes(count, 1.0, size, stream(), "torchvision").double().T
    area, ratio = (bottom - top) * (right - left) / size**2, (bottom - top) / (right - left)
    bounds = (area.min(), 0.02), (area.max(), 0.33), (ratio.min(), 0.3), (ratio.max(), 3.3)
    for found, published in bounds:
        assert float(found) == pytest.approx(published, rel=1e-3)


def test_torchvisions_erasing_draws_as_torchvision_does():
    erase, image, count = v2.RandomErasing(p=1.0), torch.zeros(3, 1000, 1000), 4000
    torch.manual_seed(0)
    theirs = [erase.make_params([image]) for _ in range(count)]
    top, left, bottom, right = augment.boxes(count, 1.0, 1000, stream(), "torchvision").double().T
    ours = {"h": bottom - top, "w": right - left, "i": top, "j": left}
    for name, values in ours.items():
        assert stats.ks_2samp(values.numpy(), [float(params[name]) for params in theirs]).pvalue > 1e-3


class Drawn:
    """Answers what was drawn before: a share, then the box's centre (y, x)."""

    def __init__(self, share, centre):
        self.share, self.centre = share, centre

    def beta(self, a, b):
        return self.share

    def integers(self, low, high, count):
        return self.centre

    def sample(self, shape):
        return torch.tensor(self.share, dtype=torch.float64)


@pytest.mark.parametrize("size", [32, 33, 224])
def test_cutmix_rounds_as_published_and_as_torchvision_does(size, monkeypatch):
    theirs, draw = v2.CutMix(num_classes=5), np.random.default_rng(0)
    for _ in range(300):
        share, centre = draw.random(), draw.integers(0, size, 2)
        theirs._dist = Drawn(share, centre)
        column_then_row = iter(centre.tolist()[::-1])
        monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([next(column_then_row)]))  # noqa: B023
        params = theirs.make_params([torch.zeros(1, 3, size, size)])
        x1, y1, x2, y2 = params["box"]
        ours = mix._cutmix(Drawn(share, centre), 1.0, size, "published")
        assert ours.box == (y1, x1, y2, x2)
        assert ours.share == pytest.approx(params["lam_adjusted"])
        side = int(size * math.sqrt(1 - share))  # the published code's rand_bbox
        edges = [np.clip(c + sign * (side // 2), 0, size) for sign in (-1, 1) for c in centre]
        assert ours.box == tuple(edges)


def test_no_erasing_at_probability_0_and_always_at_1():
    assert augment.boxes(100, 0.0, 32, stream()).abs().sum() == 0
    top, _, bottom, _ = augment.boxes(1000, 1.0, 32, stream()).T
    assert (bottom > top).all()


def fixed(monkeypatch, transform, **params):
    """Makes one of torchvision's transforms use these numbers in place of drawn ones."""
    monkeypatch.setattr(transform, "make_params", lambda flat_inputs: params)
    return transform


@pytest.fixture
def batch():
    return torch.randn(6, 3, 16, 16, generator=stream()), torch.tensor([0, 1, 2, 3, 4, 0])


def test_mixup_equals_torchvisions(batch, monkeypatch):
    transform = fixed(monkeypatch, v2.MixUp(num_classes=5), lam=0.3)
    x, y = mix.mix(*batch, mix.Mix(0.3), 5)
    expected_x, expected_y = transform(*batch)
    assert torch.allclose(x, expected_x, atol=1e-6)
    assert torch.allclose(y, expected_y)


def test_cutmix_equals_torchvisions(batch, monkeypatch):
    share, box = 1 - 5 * 6 / 256, (2, 3, 7, 9)
    transform = fixed(monkeypatch, v2.CutMix(num_classes=5), box=(3, 2, 9, 7), lam_adjusted=share)
    x, y = mix.mix(*batch, mix.Mix(share, box), 5)
    expected_x, expected_y = transform(*batch)
    assert torch.equal(x, expected_x)
    assert torch.allclose(y, expected_y)


def test_a_batchs_images_are_not_changed_in_place(batch):
    before = batch[0].clone()
    mix.mix(*batch, mix.Mix(0.5, (0, 0, 9, 9)), 5)
    assert torch.equal(batch[0], before)


def test_mixups_share_follows_the_beta_distribution():
    shares = [how.share for how in mix.draw(5000, 0.4, 0, 32, seed=1)]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    assert all(how.box == (0, 0, 0, 0) for how in mix.draw(10, 0.4, 0, 32, seed=1))


def test_cutmixs_share_is_what_its_box_leaves():
    for share, (top, left, bottom, right) in mix.draw(2000, 0, 1.0, 32, seed=1):
        assert 0 <= top <= bottom <= 32
        assert 0 <= left <= right <= 32
        assert share == pytest.approx(1 - (bottom - top) * (right - left) / 1024)


def test_with_both_on_half_of_the_batches_are_cut():
    cut = sum(how.box != (0, 0, 0, 0) for how in mix.draw(4000, 1.0, 1.0, 1000, seed=0))
    assert stats.binomtest(cut, 4000, 0.5).pvalue > 1e-3


def test_nothing_is_mixed_where_both_are_off():
    assert mix.draw(10, 0.0, 0.0, 32, seed=0) == []


def test_shares_are_what_cross_entropy_takes(batch):
    _, y = mix.mix(*batch, mix.Mix(0.3), 5)
    logits = torch.randn(6, 5, generator=stream())
    labels = batch[1]
    parts = [F.cross_entropy(logits, other) for other in (labels, labels.roll(1))]
    assert F.cross_entropy(logits, y).item() == pytest.approx(
        (0.3 * parts[0] + 0.7 * parts[1]).item(), rel=1e-5
    )
