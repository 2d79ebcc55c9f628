"""Random resized crops against torchvision's, and what normalises images."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp

from cbam_ablate.config.canonical import run_key
from cbam_ablate.data import make_feed
from cbam_ablate.data.augment import resized_crops
from cbam_ablate.data.batches import LARGE, Normalise
from cbam_ablate.data.loader import load_splits
from cbam_ablate.data.together import train_together
from cbam_ablate.data.whole import Whole
from cbam_ablate.errors import ConfigError
from cbam_ablate.torchvision_shim import import_torchvision
from tests.composed import composed

import_torchvision()
from torchvision.transforms import RandomResizedCrop  # noqa: E402
from torchvision.transforms.functional import center_crop, resized_crop  # noqa: E402

CPU = torch.device("cpu")
SHAPES = np.array([(40, 56), (37, 37), (90, 40)])


@pytest.fixture
def whole():
    sizes = (SHAPES[:, 0] * SHAPES[:, 1] * 3).sum()
    pixels = torch.randint(256, (int(sizes),), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Whole(pixels, SHAPES, 3, 32)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def test_a_box_is_resized_as_torchvision_resizes_it(whole, threads):
    boxes = torch.tensor([[3, 5, 20, 30, 0], [0, 0, 37, 37, 1], [50, 1, 40, 39, 0], [2, 2, 8, 9, 1]])
    rows = torch.tensor([0, 1, 2, 0])
    made = whole.resized(rows, boxes)
    for image, row, (top, left, height, width, flip) in zip(made, rows, boxes.tolist(), strict=True):
        source = whole.image(int(row)).permute(2, 0, 1)
        theirs = resized_crop(source, top, left, height, width, [32, 32], antialias=True)
        theirs = theirs.flip(2) if flip else theirs
        assert (image.permute(2, 0, 1).int() - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_the_middle_is_cut_as_torchvision_cuts_it(whole, threads, mode):
    rows = torch.tensor([0, 1, 2])
    with mode():
        cut = whole.centres(rows)
    for image, row in zip(cut, rows, strict=True):
        theirs = center_crop(whole.image(int(row)).permute(2, 0, 1), [32, 32])
        assert torch.equal(image.permute(2, 0, 1), theirs)


@pytest.mark.parametrize(("height", "width"), [(256, 341), (300, 40)])
def test_boxes_are_spread_as_torchvisions(height, width):
    scale, ratio, count = [0.2, 0.9], [0.75, 4 / 3], 2000
    ours = resized_crops(torch.tensor([[height, width]]).expand(count, 2), scale, ratio, True, stream())
    torch.manual_seed(1)
    image = torch.empty(3, height, width)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(count)])
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.001
    assert (ours[:, 0] + ours[:, 2]).max() <= height
    assert (ours[:, 1] + ours[:, 3]).max() <= width
    assert 0.45 < ours[:, 4].double().mean() < 0.55


CROPS = ["data=synthetic", "augment=random_resized_crop", "train.batch_size=16", "data.train_size=64"]


def test_an_epoch_is_the_same_wherever_it_is_begun_and_with_others():
    feeds = [make_feed(composed([*CROPS, f"seed={seed}"]), CPU, "fp32") for seed in (0, 1)]
    whole, rest = list(feeds[0].train(1, 0)), list(feeds[0].train(1, 2))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(whole[2:], rest, strict=True))
    together = [images[0] for images, _ in train_together(feeds, 1, 0)]
    assert all(torch.equal(one, other[0]) for one, other in zip(together, whole, strict=True))
    assert not torch.equal(next(feeds[0].train(0, 0))[0], whole[0][0])


def test_crops_of_whole_images_are_cut_from_each_images_own_sides(tmp_path):
    draw = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "pics" / label).mkdir(parents=True)
        for number in range(12):
            height, width = (int(side) for side in draw.integers(30, 90, 2))
            pixels = np.full((height, width, 3), 20 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pics" / label / f"{number}.png")
    words = ["data=folder", f"data.root={tmp_path / 'pics'}", "data.size=32", f"data.cache={tmp_path / 'c'}"]
    for sampler in ("shuffle", "balanced"):
        cfg = composed(
            [*words, "augment=random_resized_crop", "train.batch_size=4", f"data.sampler={sampler}"]
        )
        feed, splits = make_feed(cfg, CPU, "fp32"), load_splits(cfg, CPU)
        drawn = feed.batches.draw(0, 0)
        sides = splits.train.whole().sides[splits.train.rows[drawn.order]]
        assert (drawn.crops[:, :2] + drawn.crops[:, 2:4] <= sides).all()
        plain = splits.train.take(drawn.order[:4]).float().mean((1, 2, 3))
        assert torch.allclose(feed.batches.whole.resized(splits.train.rows[drawn.order[:4]], drawn.crops[:4])
                              .float().mean((1, 2, 3)), plain)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_images_are_normalised_as_small_ones(dtype):
    side = int((LARGE / 3) ** 0.5) + 2
    images = torch.randint(256, (3, side, side, 3), dtype=torch.uint8)
    mean, std = torch.tensor([100.0, 120, 90]), torch.tensor([50.0, 60, 70])
    found = Normalise(mean, std, (side, side, 3), dtype)(images)
    part = Normalise(mean, std, (8, 8, 3), dtype)(images[:, :8, :8])
    assert torch.equal(found[:, :, :8, :8], part)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_memory_of_batches_is_used_again_when_nobody_holds_them():
    normalise = Normalise(torch.zeros(3), torch.ones(3), (128, 128, 3), torch.float32)
    black, white = (torch.full((2, 128, 128, 3), value, dtype=torch.uint8) for value in (0, 255))
    view = normalise(black)[:1, :1]
    second = normalise(white)
    assert not view.any()
    places = {view.data_ptr(), second.data_ptr()}
    assert len(places) == 2
    del view, second
    assert normalise(white).data_ptr() in places


def test_moments_can_be_set():
    words = ["data=synthetic", "data.mean=[0.5,0.4,0.3]", "data.std=[0.2,0.2,0.1]"]
    splits = load_splits(composed(words), CPU)
    assert torch.allclose(splits.mean, 255 * torch.tensor([0.5, 0.4, 0.3]))
    assert torch.allclose(splits.std, 255 * torch.tensor([0.2, 0.2, 0.1]))
    assert run_key(composed(words)) != run_key(composed(words[:1]))


def test_flips_are_off_for_digits_unless_asked_for():
    assert not composed(["data=svhn"]).augment.flip
    assert not composed(["data=svhn", "augment=cutmix"]).augment.flip
    assert composed(["data=svhn", "augment.flip=true"]).augment.flip
    assert composed([]).augment.flip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["augment.random_resized_crop=true"], "random_resized_crop cuts out already"),
        (["augment=random_resized_crop", "augment.crop_scale=[0.5,2]"], "two numbers above 0"),
        (["augment=random_resized_crop", "augment.crop_ratio=[2]"], "two numbers above 0"),
        (["augment=random_resized_crop", "data=imagenet", "data.root=x"], "keeps the middle"),
        (["data.mean=[0.5]"], "one number for each of 3 channels"),
        (["data.std=[0.5,0.5,0]"], "above 0"),
        (["data.mean=[nan,0.5,0.5]"], "one number for each of 3 channels"),
    ],
)
def test_nonsense_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        composed(["data=synthetic", *words])
