import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cbam_ablate.data import DataError
from cbam_ablate.data.arrays import Arrays, sha256
from cbam_ablate.data.cache import cache_folder, cached, read_cache, usable_cache


def some_arrays(value=1):
    images = np.full((40, 8, 8, 3), value, dtype=np.uint8)
    return Arrays(images, np.arange(40, dtype=np.uint8), images[:9], np.zeros(9, np.uint8))


def fill(data, get=some_arrays, check=lambda arrays: None):
    return cached(data, [("a test", get)], check, "do something")


def refuse():
    return pytest.fail("asked again")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_got_once_is_read_from_the_cache(config):
    first, second = fill(config()), fill(config(), refuse)
    assert np.array_equal(first.train_images, some_arrays().train_images)
    assert second.source == "a test"
    assert isinstance(second.train_images, np.memmap)
    assert first.digests == second.digests


def test_files_are_hashed_once_in_a_process_and_again_when_changed(config, monkeypatch):
    hashed = []
    fill(config())
    monkeypatch.setattr("cbam_ablate.data.cache.RACY", 0.0)
    monkeypatch.setattr(
        "cbam_ablate.data.cache.sha256", lambda array: hashed.append(array.shape) or sha256(array)
    )
    folder = cache_folder(config())
    assert read_cache(folder) is not None
    hashed.clear()
    assert read_cache(folder) is not None
    assert hashed == []
    flip_a_bit(folder / "train_images.npy")
    os.utime(folder / "train_images.npy", (1, 1))
    assert read_cache(folder) is None
    assert hashed == [(40, 8, 8, 3)]


def test_the_cache_folder_follows_the_config_then_the_environment(config, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    data = config()
    assert cache_folder(data) == tmp_path / "cache" / "cifar10"
    data.cache = None
    assert cache_folder(data) == tmp_path / "xdg" / "cbam_ablate" / "cifar10"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(data) == tmp_path / ".cache" / "cbam_ablate" / "cifar10"


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["train_images.npy", "test_labels.npy", "meta.json"])
@pytest.mark.parametrize("harm", [cut, flip_a_bit, os.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_cache_is_made_anew(config, caplog, file, harm):
    fill(config())
    harm(cache_folder(config()) / file)
    assert fill(config(), lambda: some_arrays(2)).train_images.max() == 2
    assert "damaged" in caplog.text
    assert fill(config(), refuse).train_images.max() == 2


def test_writing_to_the_arrays_leaves_the_cache_as_it_is(config):
    fill(config()).train_images[:] = 77
    assert fill(config(), refuse).train_images.max() == 1


def test_arrays_that_fail_the_check_are_never_cached(config):
    def check(arrays):
        raise ValueError("these are not the ones")

    with pytest.raises(DataError, match=r"(?s)a test: these are not the ones.*do something"):
        fill(config(), check=check)
    assert names(cache_folder(config()).parent) == [".cifar10.lock"]


def test_every_source_is_tried_and_said(config):
    def failing(said):
        def get():
            raise OSError(said)

        return get

    sources = [("first", failing("gone")), ("second", failing("gone too")), ("third", some_arrays)]
    assert cached(config(), sources, lambda arrays: None, "").source == "third"
    with pytest.raises(DataError, match=r"(?s)Tried:\s+first: gone\s+second: gone too\nput it there"):
        cached(config("cifar100"), sources[:2], lambda arrays: None, "put it there")


def test_of_several_at_once_one_gets_the_data_and_all_have_it(config):
    asked, found, together = [], [], threading.Barrier(4)

    def get():
        asked.append(1)
        return some_arrays()

    def work():
        together.wait()
        found.append(fill(config(), get).train_images.sum())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert found == [some_arrays().train_images.sum()] * 4
    assert names(cache_folder(config()).parent) == [".cifar10.lock", "cifar10"]


def test_what_a_killed_process_left_is_swept_up(config):
    folder = cache_folder(config())
    (folder.parent / ".cifar10.abc.part").mkdir(parents=True)
    (folder.parent / ".cifar10.abc.part" / "train_images.npy").write_bytes(b"half")
    (folder.parent / ".cifar100.abc.part").mkdir()
    fill(config())
    assert names(folder.parent) == [".cifar10.lock", ".cifar100.abc.part", "cifar10"]


@pytest.mark.parametrize("mask", [0o002, 0o027])
def test_a_cache_has_the_modes_of_the_umask(config, mask):
    before = os.umask(mask)
    try:
        fill(config())
    finally:
        os.umask(before)
    folder = cache_folder(config())
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~mask}


def test_an_interruption_while_writing_leaves_the_cache_as_it_was(config, monkeypatch):
    fill(config())
    flip_a_bit(cache_folder(config()) / "train_images.npy")
    monkeypatch.setattr("numpy.save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fill(config())
    assert names(cache_folder(config()).parent) == [".cifar10.lock", "cifar10"]
    assert read_cache(cache_folder(config())) is None


def test_a_cache_from_elsewhere_gives_way_to_an_explicit_root(config, tmp_path):
    fill(config())
    assert usable_cache(config()) is not None
    assert usable_cache(config(root=str(tmp_path))) is None
    source = (f"data.root={tmp_path}", lambda: some_arrays(3))
    assert cached(config(root=str(tmp_path)), [source], lambda arrays: None, "").train_images.max() == 3
    assert usable_cache(config(root=str(tmp_path))) is not None
    assert usable_cache(config()) is not None


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_cannot_be_written_is_said(config, tmp_path, place):
    (tmp_path / "file").write_text("")
    data = config()
    data.cache = str(tmp_path / place)
    with pytest.raises(DataError, match=r"data\.cache=.*can't be written"):
        fill(data)


def test_a_full_disk_is_said_and_leaves_nothing(config, monkeypatch):
    def full(file, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(DataError, match=r"data\.cache=.*No space left on device"):
        fill(config())
    assert names(cache_folder(config()).parent) == [".cifar10.lock"]


@pytest.mark.slow
def test_killed_again_and_again_while_filling_it_never_leaves_half_a_cache(config):
    code = (
        "import sys, numpy as np\n"
        "from cbam_ablate.config.schema import DataConfig\n"
        "from cbam_ablate.data.arrays import Arrays\n"
        "from cbam_ablate.data.cache import cached\n"
        "images = np.full((20000, 32, 32, 3), 1, dtype=np.uint8); labels = np.zeros(20000, np.uint8)\n"
        "data = DataConfig(name='cifar10', val_size=10, cache=sys.argv[1])\n"
        "print('go', flush=True)\n"
        "cached(data, [('a', lambda: Arrays(images, labels, images, labels))], lambda arrays: None, '')\n"
    )
    folder = cache_folder(config())
    command = [sys.executable, "-c", code, str(folder.parent)]
    for delay in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.read(3)
            time.sleep(delay)
            process.kill()
        assert not folder.exists() or read_cache(folder) is not None
    subprocess.run(command, check=True, capture_output=True)
    assert read_cache(folder).train_images.min() == 1
    assert names(folder.parent) == [".cifar10.lock", "cifar10"]
