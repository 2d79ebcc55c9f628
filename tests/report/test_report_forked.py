"""What is written beside the drawing of an export's figures is written, or said."""

import os
import subprocess
import sys
import threading

import pytest

from cbam_ablate.report.forked import beside

START = """
import os, sys, time
from pathlib import Path
from cbam_ablate.report.forked import beside
out = Path(sys.argv[1])
def write():
    out.write_text(f"{os.getpid()}")
"""
ONE_CORE = len(getattr(os, "sched_getaffinity", lambda _: [0])(0)) < 2 or sys.platform != "linux"


def run(code, tmp_path):
    """Runs it in a process without threads, and gives what it wrote and printed."""
    words = [sys.executable, "-c", START + code, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (tmp_path / "out").read_text() if (tmp_path / "out").exists() else None, done.stdout.split()


@pytest.mark.skipif(ONE_CORE, reason="needs two cores, and Linux")
def test_a_fork_writes_while_the_block_runs(tmp_path):
    code = """
with beside(write):
    ends = time.monotonic() + 60
    while not out.exists() and time.monotonic() < ends: time.sleep(0.01)
    print(out.exists(), os.getpid())
"""
    writer, (there, own) = run(code, tmp_path)
    assert there == "True"
    assert writer != own


def test_what_a_fork_could_not_write_is_written_after_the_block(tmp_path):
    code = """
own = os.getpid()
def in_own():
    if os.getpid() != own: raise MemoryError
    write()
with beside(in_own): pass
print(own)
"""
    writer, (own,) = run(code, tmp_path)
    assert writer == own


def test_an_error_of_the_writing_is_raised_as_it_is(tmp_path):
    code = """
def refuse():
    raise OSError("no space")
try:
    with beside(refuse): print("drawn")
except OSError as error:
    print(error)
"""
    assert run(code, tmp_path) == (None, ["drawn", "no", "space"])


def test_an_error_of_the_block_ends_the_writing(tmp_path):
    code = """
def late():
    time.sleep(60)
    write()
try:
    with beside(late): raise KeyboardInterrupt
except KeyboardInterrupt:
    print("stopped")
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("alone")
"""
    assert run(code, tmp_path) == (None, ["stopped", "alone"])


def test_a_process_with_threads_writes_after_the_block_itself():
    wait, found = threading.Event(), []
    thread = threading.Thread(target=wait.wait)
    thread.start()
    with beside(lambda: found.append(os.getpid())):
        assert not found
    wait.set()
    thread.join()
    assert found == [os.getpid()]
