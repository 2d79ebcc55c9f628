import errno
import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from cbam_ablate.runs import claim
from cbam_ablate.runs.claim import LostClaimError, acquire, free_if_dead, holder


def hold(folder, ready):
    acquire(folder)
    ready.set()
    time.sleep(60)


def contend(folder, barrier, wins):
    barrier.wait()
    wins.put(acquire(folder) is not None)
    barrier.wait()


def test_a_live_claim_keeps_others_out_and_a_dead_one_does_not(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    ready.wait(30)
    assert acquire(tmp_path) is None
    assert holder(tmp_path)["pid"] == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert holder(tmp_path) is None
    assert acquire(tmp_path) is not None


def test_of_many_that_ask_at_once_one_gets_it(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, wins = context.Barrier(6), context.Queue()
    processes = [context.Process(target=contend, args=(tmp_path, barrier, wins)) for _ in range(6)]
    for process in processes:
        process.start()
    results = [wins.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert sum(results) == 1


def test_a_released_claim_is_free(tmp_path):
    acquire(tmp_path).release()
    assert acquire(tmp_path) is not None


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A run that a process on another machine holds, whose clock is two hours behind."""
    monkeypatch.setattr("cbam_ablate.runs.claim.SILENCE", 0.6)
    monkeypatch.setattr("cbam_ablate.runs.claim.LOOK", 0.1)
    held = acquire(tmp_path)
    held.path.write_text(json.dumps({**json.loads(held.path.read_text()), "machine": "another"}))
    ages = (time.time() - 7200,) * 2
    os.utime(held.path, ages)

    def beat(number):
        (tmp_path / "status.json").write_text(json.dumps({"updated": number}))
        os.utime(tmp_path / "status.json", ages)

    beat(0)
    return held, beat


def test_a_holder_on_another_machine_is_dead_once_it_was_seen_to_be_silent(tmp_path, elsewhere):
    old, _ = elsewhere
    assert acquire(tmp_path) is None
    assert holder(tmp_path)["pid"] == os.getpid()
    time.sleep(0.7)
    assert holder(tmp_path) is None
    assert acquire(tmp_path) is not None
    with pytest.raises(LostClaimError, match="taken over by"):
        old.check()


def test_a_holder_whose_heart_beats_is_alive_whatever_its_clock_says(tmp_path, elsewhere):
    _, beat = elsewhere
    for number in range(1, 5):
        time.sleep(0.3)
        beat(number)
        assert acquire(tmp_path) is None
    beating = threading.Timer(0.3, beat, [9])
    beating.start()
    assert acquire(tmp_path, watch=True) is None
    beating.join()
    started = time.monotonic()
    while acquire(tmp_path, watch=True) is None:
        assert time.monotonic() - started < 30
    assert time.monotonic() - started > 0.2


def test_who_has_watched_a_holder_die_frees_the_run_for_others(tmp_path, elsewhere):
    free_if_dead(tmp_path)
    assert acquire(tmp_path) is None
    time.sleep(0.7)
    free_if_dead(tmp_path)
    claim._seen.clear()
    assert acquire(tmp_path) is not None


def test_copies_of_claims_under_other_names_and_half_written_ones_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr("cbam_ablate.runs.claim.WRITING", 0.1)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "1 (1).json").write_text("{}")
    (tmp_path / "claims" / "2.json").write_text("")
    assert acquire(tmp_path) is None
    time.sleep(0.2)
    assert acquire(tmp_path).path.name == "3.json"


def test_where_there_are_no_hard_links_one_of_many_gets_it_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_of_many_that_ask_at_once_one_gets_it(tmp_path)
