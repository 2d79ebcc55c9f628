"""One's own folder of images: what is found in it, how it is divided, and what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from cbam_ablate.config import load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.data import DataError, discover, folder
from cbam_ablate.data.feed import Feed
from cbam_ablate.data.loader import at_hand, load_arrays, load_splits, prepare
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.registry import facts
from cbam_ablate.torchvision_shim import import_torchvision
from tests.data.folders import CLASSES, fill, picture

import_torchvision()
from torchvision import datasets, transforms  # noqa: E402

CPU = torch.device("cpu")


def test_classes_channels_and_counts_are_found(pics, of):
    cfg = of(pics)
    known = facts(cfg.data)
    assert (known.classes, known.size, known.channels) == (3, 32, 3)
    assert cfg.data.classes == list(CLASSES)
    splits = load_splits(cfg, CPU)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (21, 3, 6) == discover.counts(cfg.data)


def test_nested_files_are_read_in_torchvisions_order(pics, of):
    (pics / "cat" / "more" / "deep").mkdir(parents=True)
    picture(7).save(pics / "cat" / "more" / "deep" / "a.JPG")
    picture(8).save(pics / "cat" / "more" / "z.bmp")
    theirs = datasets.ImageFolder(pics).samples
    cfg = of(pics)
    found = discover.known(cfg.data)
    assert [
        (str(pics / path), label) for path, label in zip(found.paths, found.labels, strict=True)
    ] == theirs


def test_an_image_is_evaluated_as_torchvisions_recipe_has_it(pics, of):
    cfg = of(pics)
    recipe = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32)])
    splits, found = load_splits(cfg, CPU), discover.known(cfg.data)
    seen = splits.test.take(torch.arange(6)).numpy()
    for image, row in zip(seen, splits.numbers["test"], strict=True):
        with Image.open(pics / found.paths[row]) as opened:
            assert np.array_equal(image, np.asarray(recipe(opened)))


def test_hidden_and_foreign_files_are_named_and_left_out(pics, of):
    (pics / ".git").mkdir()
    (pics / "cat" / ".hidden.png").write_bytes(b"x")
    (pics / "dog" / "notes.txt").write_text("x")
    (pics / "top.png").write_bytes(b"x")
    said = prepare(of(pics))
    text = " ".join(str(value) for value in said.values())
    for name in (".git", "cat/.hidden.png", "dog/notes.txt", "top.png"):
        assert name in text
    assert said["classes"] == "3: cat 10, dog 10, owl 10"


def test_an_image_moved_between_classes_is_another_data_set(pics, of):
    before = of(pics)
    (pics / "cat" / "p0_0.png").rename(pics / "dog" / "p0_0_moved.png")
    after = of(pics)
    assert run_key(before) != run_key(after)
    assert len(load_splits(after, CPU).train) == 21
    with pytest.raises(DataError, match="its images are others than when the run was planned"):
        load_arrays(before.data)


def test_one_changed_pixel_is_another_data_set_and_a_touched_file_is_not(pics, of):
    before, path = of(pics), pics / "owl" / "p4_9.png"
    path.touch()
    assert run_key(of(pics)) == run_key(before)
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    assert run_key(of(pics)) != run_key(before)


def test_a_copy_elsewhere_is_the_same_data_set(pics, of, tmp_path):
    assert run_key(of(shutil.copytree(pics, tmp_path / "copy"))) == run_key(of(pics))


def test_a_folder_is_decoded_once(pics, of, monkeypatch):
    first = load_arrays(of(pics).data)
    monkeypatch.setattr(folder, "decoded", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(load_arrays(of(pics, "data.val_fraction=0.3").data).pixels, first.pixels)


def test_unchanged_files_are_not_read_again(pics, of, monkeypatch):
    of(pics)
    monkeypatch.setattr(discover.entries.__globals__["time"], "time_ns", lambda: 2**62)  # long after
    of(pics)
    monkeypatch.setattr("cbam_ablate.data.index._entry", lambda path: pytest.fail(f"read {path}"))
    of(pics)


def test_a_network_is_built_of_a_stored_config_without_the_folder(pics, of):
    from cbam_ablate import build_model

    cfg = of(pics, "backbone=resnet_cifar", "depth=20")
    shutil.rmtree(pics)
    assert build_model(cfg)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_parts_that_the_folder_has_are_used(tmp_path, of):
    for part, count in (("train", 6), ("valid", 2), ("TEST", 3)):
        fill(tmp_path / "all" / part, count, first=1000 * count)
    cfg = of(tmp_path / "all")
    assert discover.counts(cfg.data) == (18, 6, 9)
    assert cfg.data.val_fraction is None
    assert cfg.data.test_fraction is None
    with pytest.raises(DataError, match="has a val part of its own"):
        of(tmp_path / "all", "data.val_fraction=0.1")


def test_validation_images_without_test_images_are_tested_on_unless_asked_otherwise(tmp_path, of):
    for part, count in (("train", 10), ("val", 3)):
        fill(tmp_path / "two" / part, count, first=1000 * count)
    assert discover.counts(of(tmp_path / "two").data) == (27, 3, 9)
    assert discover.counts(of(tmp_path / "two", "data.val_as=val").data) == (24, 9, 6)


@pytest.mark.parametrize(("part", "word"), [("test", "(the set's own)"), ("val", "(the set's own, val/)")])
def test_the_folder_of_the_test_images_is_named(tmp_path, of, part, word):
    for place, name in enumerate(("train", part)):
        fill(tmp_path / "two" / name, 6, first=1000 * place)
    assert prepare(of(tmp_path / "two"))["test"] == f"18 images {word}"


def test_our_parts_hold_each_class_in_proportion_and_follow_their_seed(tmp_path, of):
    root = fill(tmp_path / "odd", 20)
    for place in range(10, 20):
        (root / "owl" / f"p{place // 2}_{place}.png").unlink()
    one, other = (load_splits(of(root, f"data.split_seed={seed}"), CPU) for seed in (0, 1))
    assert torch.bincount(one.test.labels).tolist() == [4, 4, 2]
    assert torch.bincount(one.val.labels).tolist() == [2, 2, 1]
    assert not np.array_equal(one.numbers["test"], other.numbers["test"])
    rows = [*one.train.rows, *one.val.rows, *one.test.rows]
    assert sorted(map(int, rows)) == list(range(50))


def test_a_group_is_never_on_two_sides(tmp_path, of):
    root = fill(tmp_path / "scans", 30)
    cfg = of(root, "data.group='^(p\\d+)_'")
    found, splits = discover.known(cfg.data), load_splits(cfg, CPU)
    groups = [path.split("/")[1].split("_")[0] for path in found.paths]
    sides = [{groups[row] for row in part.rows} for part in (splits.train, splits.val, splits.test)]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert 0.1 < len(splits.test) / 90 < 0.3
    assert len(set(splits.val.labels.tolist())) == 3


def test_a_group_in_two_given_parts_is_refused(tmp_path, of):
    for part in ("train", "test"):
        fill(tmp_path / "leak" / part, 4)
    with pytest.raises(UserError, match=r"groups have files both in train and test, say p0"):
        of(tmp_path / "leak", "data.group='^(p\\d+)_'")


def test_a_part_beside_the_classes_is_no_class_unless_it_is_said(pics, of):
    (pics / "owl").rename(pics / "test")
    with pytest.raises(DataError, match=r"holds test beside the classes and no train/; put the classes into"):
        of(pics)
    assert facts(of(pics, "data.classes=[cat,dog,test]").data).classes == 3


def test_all_damaged_files_are_listed_at_once(pics, of):
    whole = (pics / "dog" / "p0_0.png").read_bytes()
    (pics / "cat" / "p0_0.png").write_bytes(b"no image")
    (pics / "owl" / "p0_0.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"2 files are not a whole image.*(?s:.)*cat/p0_0\.png.*\n.*owl/p0_0\.png"
    ):
        of(pics)
    for name in ("cat", "owl"):
        (pics / name / "p0_0.png").write_bytes(whole[: len(whole) // 2])
    cfg = of(pics)
    with pytest.raises(DataError, match=r"2 files are.*(?s:.)*cat/p0_0\.png.*\n.*owl/p0_0\.png"):
        load_arrays(cfg.data)


def test_tiny_imagenets_layout_is_read_as_it_is(tmp_path, of):
    root = tmp_path / "tiny-imagenet-200"
    for number, name in enumerate(("n01", "n02")):
        (root / "train" / name / "images").mkdir(parents=True)
        (root / "train" / name / f"{name}_boxes.txt").write_text("x")
        for place in range(6):
            picture(10 * number + place, 64, 64).save(
                root / "train" / name / "images" / f"{name}_{place}.JPEG"
            )
    for part in ("val", "test"):
        (root / part / "images").mkdir(parents=True)
        for place in range(4):
            picture(50 + place, 64, 64).save(root / part / "images" / f"{part}_{place}.JPEG")
    lines = [f"val_{place}.JPEG\tn0{place % 2 + 1}\t0\t0\t62\t62" for place in range(4)]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines))
    cfg = of(root, size=64)
    assert discover.counts(cfg.data) == (10, 2, 4)
    splits = load_splits(cfg, CPU)
    assert splits.test.labels.tolist() == [0, 1, 0, 1]
    assert isinstance(splits.test.images, torch.Tensor)  # images of the size itself are taken as they are
    assert "without labels" in str(prepare(cfg))


@pytest.mark.parametrize(
    ("harm", "words", "said"),
    [
        (lambda root: shutil.rmtree(root), (), "there is no such folder"),
        (lambda root: [shutil.rmtree(root / name) for name in CLASSES], (), "holds no folders"),
        (lambda root: [shutil.rmtree(root / name) for name in CLASSES[1:]], (), r"one folder \(cat\)"),
        (lambda root: (root / "emu").mkdir(), (), r"emu/ holds no image \(\.jpg"),
        (lambda root: None, ("data.size=9000",), "data.size=9000: must be at least 8 and at most 1024"),
        (lambda root: None, ("data.size=null",), "data.size=null: data=folder needs it"),
        (lambda root: None, ("data.root=null",), "data.root=null: data=folder needs it"),
        (lambda root: None, ("data.store_size=16",), "data.store_size=16: at least data.size=32"),
        (lambda root: None, ("data.classes=[cat,cow]",), "no folder cow in .*; it has cat, dog, owl"),
        (lambda root: None, ("data.val_size=9",), "data=folder takes data.val_fraction instead"),
        (lambda root: None, ("data.test_fraction=0.99",), "leaves the train part without images of cat"),
        (lambda root: None, ("data.group=x",), "data.group=x: matches no part of 30 of 30 file names"),
        (lambda root: None, ("train.batch_size=64",), "train.batch_size=64: at most 21, the training images"),
    ],
)
def test_nonsense_is_refused_in_one_line(pics, of, harm, words, said):
    harm(pics)
    with pytest.raises(UserError, match=said) as refused:
        of(pics, *words)
    assert len(str(refused.value).splitlines()) == 1


def test_a_validation_part_without_a_class_is_refused(tmp_path, of):
    fill(tmp_path / "all" / "train", 4)
    fill(tmp_path / "all" / "val", 2, CLASSES[:2])
    with pytest.raises(DataError, match="only train/ has owl; both need the same folders"):
        of(tmp_path / "all")


def test_other_data_sets_refuse_the_options_of_folders():
    with pytest.raises(ConfigError, match=r"data\.size=64: data=cifar10 doesn't read it"):
        load_config(["data.size=64"])


def test_grey_images_make_batches_of_one_channel(tmp_path, of):
    root = fill(tmp_path / "grey", 6)
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    cfg = of(root)
    images, _ = next(Feed(cfg, load_splits(cfg, CPU), torch.float32).train(0, 0))
    assert images.shape == (4, 1, 32, 32)
    assert dataclasses.asdict(cfg.data)["channels"] == 1
    assert facts(of(root, "data.channels=3").data).channels == 3


def test_test_images_are_at_hand_by_their_number_once_they_were_decoded(of, pics):
    cfg = of(pics)
    assert at_hand(cfg.data) is None
    splits = load_splits(cfg, CPU)
    content, image = at_hand(cfg.data)
    assert content == splits.sha256
    for place, number in enumerate(splits.numbers["test"].tolist()):
        assert np.array_equal(image(number), splits.test.take(torch.tensor([place]))[0].numpy())
