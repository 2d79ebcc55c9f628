"""Scenes with real processes: stopped, killed, on machines with other clocks and on poor file systems."""

import os
import subprocess
import time

import pytest

ELSEWHERE = """
import os, socket, time
name, ahead = os.environ["HOST_NAME"], float(os.environ["CLOCK_AHEAD"])
socket.gethostname = lambda: name
real = time.time
time.time = lambda: real() + ahead
import cbam_ablate.runs.claim as claim
claim.SILENCE = float(os.environ["SILENCE"])
import cbam_ablate.runs.writer as writer
plain = writer.write_views
writer.write_views = lambda *given: time.sleep(float(os.environ["PAUSE"])) or plain(*given)
"""
NO_LINKS = """
#include <errno.h>
int link(const char *a, const char *b) { errno = EPERM; return -1; }
int linkat(int a, const char *b, int c, const char *d, int e) { errno = EPERM; return -1; }
"""


def pytest_collection_modifyitems(items):
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def host(tmp_path):
    """The environment of a process on a machine of that name, its clock so many seconds ahead.

    `silence` is how long it watches a holder that is silent before it takes it for dead; `pause` is how long
    it waits after each epoch, in seconds.
    """
    folder = tmp_path / "hosts"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ELSEWHERE)
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])

    def environment(name, ahead=0.0, silence=120.0, pause=0.0):
        values = {"HOST_NAME": name, "CLOCK_AHEAD": str(ahead), "SILENCE": str(silence), "PAUSE": str(pause)}
        return {"PYTHONPATH": paths, **values}

    return environment


@pytest.fixture
def without_links(tmp_path):
    """The environment of a process on whose file system there are no hard links."""
    source, library = tmp_path / "nolinks.c", tmp_path / "nolinks.so"
    source.write_text(NO_LINKS)
    if subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], capture_output=True).returncode:
        pytest.skip("no C compiler")
    return {"LD_PRELOAD": str(library)}


@pytest.fixture
def exfat(tmp_path):
    """A folder on a real exFAT file system, which has neither hard links nor owners."""
    image, folder = tmp_path / "image", tmp_path / "exfat"
    folder.mkdir()
    image.touch()
    os.truncate(image, 64 << 20)
    device = ""
    try:
        subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
        found = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True)
        device = found.stdout.strip()
        if subprocess.run(["mount", "-t", "exfat", device, folder], capture_output=True).returncode:
            subprocess.run(["mount.exfat-fuse", device, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        subprocess.run(["losetup", "-d", device], check=True) if device else None
        pytest.skip(f"exFAT can't be mounted here ({error})")
    yield folder
    subprocess.run(["umount", folder], check=True)
    subprocess.run(["losetup", "-d", device], check=True)


@pytest.fixture
def until():
    """Waits for something to become true, at most `seconds`."""

    def wait(ready, seconds=300):
        deadline = time.monotonic() + seconds
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ready()

    return wait
