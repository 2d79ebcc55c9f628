import json
import multiprocessing
import os
import signal
import time

from cbam_ablate.runs.claim import SILENCE, acquire, holder


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
    results = [wins.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    assert sum(results) == 1


def test_a_released_claim_is_free(tmp_path):
    claim = acquire(tmp_path)
    claim.release()
    assert acquire(tmp_path) is not None


def test_a_holder_on_another_machine_counts_as_dead_after_its_silence(tmp_path):
    claim = acquire(tmp_path)
    elsewhere = {**json.loads(claim.path.read_text()), "machine": "another"}
    claim.path.write_text(json.dumps(elsewhere))
    assert acquire(tmp_path) is None
    long_ago = time.time() - SILENCE - 1
    os.utime(claim.path, (long_ago, long_ago))
    assert acquire(tmp_path) is not None
