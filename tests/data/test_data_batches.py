import numpy as np
import pytest
import torch

from cbam_ablate.config.schema import AugmentConfig
from cbam_ablate.data import augment
from cbam_ablate.data.batches import Normalise, TrainBatches, eval_batches
from cbam_ablate.data.loader import Subset

SHAPE = (8, 8, 3)
PLAIN = Normalise(torch.zeros(3), torch.ones(3), SHAPE, torch.float32)
EVERYTHING = {"rotation": 10.0, "shift": 0.1, "erasing": 0.5, "mixup": 1.0, "cutmix": 1.0}


@pytest.fixture
def images():
    return torch.randint(0, 256, (50, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def part_of(images, labels=None):
    count = torch.arange(len(images))
    return Subset(images, count, count if labels is None else labels)


def batches(images, crop_padding=2, flip=True, **options):
    return TrainBatches(part_of(images), AugmentConfig(crop_padding, flip, **options), 16, PLAIN, 50)


def labels_of(made):
    return [y.tolist() for _, y in made]


def test_one_gather_equals_cropping_and_flipping_image_by_image(images, monkeypatch):
    drawn = []
    crops = augment.crops
    monkeypatch.setattr(augment, "crops", lambda *given: drawn.append(crops(*given)) or drawn[0])
    padded = np.pad(images.numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)))
    for x, labels in batches(images).epoch(1, 0):
        for image, label in zip(x, labels.tolist(), strict=True):
            top, left, flip = drawn[0][label].tolist()
            expected = padded[label, top : top + 8, left : left + 8]
            expected = expected[:, ::-1] if flip else expected
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_without_augmentation_images_stay_as_they_are(images):
    for x, labels in batches(images, 0, False).epoch(0, 0):
        assert torch.equal(x.permute(0, 2, 3, 1), images[labels].float())


def test_an_epoch_has_every_image_at_most_once_and_full_batches_only(images):
    labels = labels_of(batches(images).epoch(0, 0))
    assert [len(part) for part in labels] == [16, 16, 16]
    assert len({label for part in labels for label in part}) == 48


def test_epochs_differ_and_seeds_differ(images):
    def order(seed, epoch):
        return labels_of(batches(images).epoch(seed, epoch))

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["standard", "everything"])
def test_starting_within_an_epoch_gives_the_same_batches(images, options):
    whole = list(batches(images, **options).epoch(3, 2))
    rest = list(batches(images, **options).epoch(3, 2, start=1))
    assert all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(whole[1:], rest, strict=True)
    )


def test_order_and_each_augmentation_have_streams_of_their_own(images):
    with_flip = labels_of(batches(images).epoch(0, 0))
    without = labels_of(batches(images, 0, False).epoch(0, 0))
    erased = list(batches(images, erasing=1.0).epoch(0, 0))
    plain = list(batches(images).epoch(0, 0))
    assert with_flip == without
    for (x, _), (y, _) in zip(erased, plain, strict=True):
        assert torch.equal(x[x != 0], y[x != 0])


def test_what_is_drawn_elsewhere_does_not_matter(images):
    torch.manual_seed(0)
    first = list(batches(images, **EVERYTHING).epoch(0, 0))
    torch.manual_seed(1)
    np.random.seed(1)
    second = list(batches(images, **EVERYTHING).epoch(0, 0))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pixel", [False, True], ids=["channel", "pixel"])
def test_images_are_normalised_and_laid_out_channels_last(images, dtype, pixel):
    mean, std = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([1.0, 2.0, 4.0])
    mean = mean + torch.rand(8, 8, 1) if pixel else mean
    x = Normalise(mean, std, SHAPE, dtype)(images)
    expected = ((images.float() - mean) / std).permute(0, 3, 1, 2)
    assert x.dtype == dtype
    assert torch.allclose(x.float(), expected, atol=1e-4, rtol=0 if dtype == torch.float32 else 2**-8)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_every_kind_of_batch_is_channels_last_and_of_the_asked_type(images):
    normalise = Normalise(torch.zeros(3), torch.ones(3), SHAPE, torch.bfloat16)
    for options in [{}, EVERYTHING, *({name: value} for name, value in EVERYTHING.items())]:
        config = AugmentConfig(2, True, **options)
        for x, _ in TrainBatches(part_of(images), config, 16, normalise, 50).epoch(0, 0):
            assert x.dtype == torch.bfloat16
            assert x.shape == (16, 3, 8, 8)
            assert x.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_sees_every_image_once_in_order(images):
    found = list(eval_batches(part_of(images), PLAIN, 16))
    assert [len(y) for _, y in found] == [16, 16, 16, 2]
    assert torch.cat([y for _, y in found]).tolist() == list(range(50))
    assert torch.equal(torch.cat([x for x, _ in found]).permute(0, 2, 3, 1), images.float())


def test_a_part_reads_its_own_rows_of_all_images(images):
    rows = torch.tensor([7, 3, 40])
    part = Subset(images, rows, torch.tensor([0, 1, 2]))
    assert torch.equal(part.take(torch.tensor([2, 0])), images[[40, 7]])


@pytest.mark.parametrize("on_device", [True, False], ids=["images on the device", "images too many for it"])
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["standard", "everything"])
def test_an_epoch_never_asks_the_device_for_a_value(images, on_device, options):
    """The meta device has none to give, and refuses tensors of other devices."""
    meta, rows = torch.device("meta"), torch.arange(50)
    part = Subset(images, rows, rows.to(meta))
    if on_device:
        part = Subset(images.to(meta), rows.to(meta), rows.to(meta))
    normalise = Normalise(torch.zeros(3, device=meta), torch.ones(3, device=meta), SHAPE, torch.float32)
    made = TrainBatches(part, AugmentConfig(2, True, **options), 16, normalise, 50)
    found = [*made.epoch(0, 0), *eval_batches(part, normalise, 16)]
    assert {(x.device.type, y.device.type) for x, y in found} == {("meta", "meta")}
