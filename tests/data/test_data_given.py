"""Images that come as arrays: archives of MedMNIST's layout, and functions of one's own."""

import numpy as np
import pytest
import torch

from cbam_ablate.config.canonical import run_key
from cbam_ablate.data import discover, given
from cbam_ablate.data.loader import load_splits, prepare
from cbam_ablate.errors import UserError
from cbam_ablate.registry import facts
from tests.composed import composed

CPU = torch.device("cpu")


def arrays(channels=(), dtype=np.uint8, **counts):
    draw, found = np.random.default_rng(0), {}
    for part, count in counts.items():
        found[f"{part}_images"] = draw.integers(0, 256, (count, 28, 28, *channels)).astype(dtype)
        found[f"{part}_labels"] = (np.arange(count) % 3 + 1).astype(np.uint8)[:, None]
    return found


@pytest.fixture
def of(tmp_path):
    def make(found, *words):
        path = tmp_path / "set.npz"
        np.savez_compressed(path, **found)
        base = ["data=npz", f"data.root={path}", f"data.cache={tmp_path / 'cache'}", "train.batch_size=4"]
        return composed([*base, *words])

    return make


def test_the_parts_of_medmnists_layout_are_used_as_they_are(of):
    found = arrays(train=30, val=6, test=9)
    cfg = of(found)
    known = facts(cfg.data)
    assert (known.classes, known.size, known.channels) == (3, 28, 1)
    assert discover.counts(cfg.data) == (30, 6, 9)
    splits = load_splits(cfg, CPU)
    for part in ("train", "val", "test"):
        one = getattr(splits, part)
        assert np.array_equal(one.take(torch.arange(len(one)))[..., 0].numpy(), found[f"{part}_images"])
        assert one.labels.tolist() == (found[f"{part}_labels"][:, 0] - 1).tolist()
    values = found["train_images"].astype(float)
    assert splits.mean.item() == pytest.approx(values.mean(), rel=1e-5)
    assert splits.std.item() == pytest.approx(values.std(), rel=1e-5)
    assert "1 " in prepare(cfg)["classes"]


def test_parts_that_an_archive_lacks_are_split_off(of):
    found = arrays((3,), train=60)
    cfg = of({"images": found["train_images"], "labels": found["train_labels"]}, "data.classes=[a,b,c]")
    assert discover.counts(cfg.data) == (42, 6, 12)
    assert cfg.data.classes == ["a", "b", "c"]


def test_another_archive_is_another_data_set(of):
    first = of(arrays(train=30, test=9))
    assert run_key(of(arrays(train=33, test=9))) != run_key(first)


def test_16_bit_arrays_are_scaled(of):
    found = arrays(train=30, test=9)
    found["train_images"] = np.full((30, 28, 28), 17800, np.uint16)
    images = load_splits(of(found), CPU).train.take(torch.arange(3))
    assert set(images.unique().tolist()) == {69}


def test_bytes_in_wider_numbers_are_refused_and_taken_with_their_range(of):
    found = arrays(train=30, test=9, dtype=np.int64)
    with pytest.raises(UserError, match=r"train: holds int64 up to 255.*data\.range=\[0,255\]"):
        load_splits(of(found), CPU)
    images = load_splits(of(found, "data.range=[0,255]"), CPU).test.take(torch.arange(9))
    assert np.array_equal(images[..., 0].numpy(), found["test_images"])


@pytest.mark.parametrize(
    ("harm", "words", "said"),
    [
        ({"train_images": None}, (), "it takes train_images and train_labels"),
        ({"train_labels": np.zeros((30, 14), np.uint8)}, (), r"labels of shape \(30, 14\)"),
        ({"train_labels": np.zeros(29, np.uint8)}, (), "30 images and 29 labels"),
        ({"train_labels": np.ones(30, np.uint8)}, (), r"labels \[2, 3\] that train hasn't"),
        ({"train_images": np.zeros((30, 28), np.uint8)}, (), r"images of shape \(30, 28\)"),
        ({"test_images": np.zeros((9, 32, 32), np.uint8)}, (), "images of different shapes"),
        ({}, ("data.size=64",), "data.size=64: at most 28"),
        ({}, ("data.classes=[a,b]",), "2 names, 3 classes"),
        ({}, ("data.exif=true",), "data=npz doesn't read it"),
        ({}, ("data.root=none.npz",), "there is no such file"),
    ],
)
def test_nonsense_is_refused_in_one_line(of, harm, words, said):
    found = {name: array for name, array in {**arrays(train=30, test=9), **harm}.items() if array is not None}
    with pytest.raises(UserError, match=said) as refused:
        of(found, *words)
    assert len(str(refused.value).splitlines()) == 1


OWN = """
import numpy as np

def load(count: int = 30):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    return images, np.arange(count) % 2

def parts():
    images, labels = load()
    test = {"test_images": images[:8], "test_labels": labels[:8]}
    return {"train_images": images, "train_labels": labels, **test}

def nothing():
    return None

def broken():
    return {}["images"]

def named():
    images, labels = load()
    return images, np.array([f"class {label}" for label in labels], dtype=object)

def ragged():
    return [np.zeros((4 + place, 4)) for place in range(30)], np.arange(30) % 2

def waves():
    images, labels = load()
    return images.astype(complex), labels
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, *words):
        return composed(
            [f"data=my_data:{name}", f"data.cache={tmp_path / 'cache'}", "train.batch_size=4", *words]
        )

    return make


def test_a_function_of_ones_own_gives_a_data_set(own):
    cfg = own("load", "data.options.count=50")
    assert facts(cfg.data).size == 16
    splits = load_splits(cfg, CPU)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (36, 4, 10)
    assert splits.train.take(torch.tensor([0]))[0, 0, 0].tolist() == [int(splits.train.rows[0])] * 3
    assert run_key(cfg) != run_key(own("load"))
    assert discover.counts(own("parts").data) == (26, 4, 8)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("nothing", (), "gives NoneType; it must give images and labels"),
        ("broken", (), r"data=my_data:broken: KeyError in my_data.py line 17: 'images'"),
        ("ragged", (), "data=my_data:ragged: the set can't be made into arrays"),
        ("lead", (), "did you mean load"),
        ("load", ("data.options.cuont=3",), "did you mean count"),
    ],
)
def test_what_is_wrong_with_a_function_of_ones_own_is_said(own, name, words, said):
    with pytest.raises(UserError, match=said):
        own(name, *words)


def test_names_of_classes_as_objects_are_the_same_data_set_wherever_they_lie(own):
    cfg = own("named")
    assert cfg.data.classes == ["class 0", "class 1"]
    given._made.clear()
    assert own("named").data.content == cfg.data.content


def test_images_that_are_no_numbers_are_refused(own):
    with pytest.raises(UserError, match="my_data:waves: the set, images 0 to 29: holds complex128"):
        load_splits(own("waves"), CPU)
