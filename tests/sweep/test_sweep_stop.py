"""Signals that a run is told to stop by."""

import signal
import time

import pytest

from cbam_ablate.sweep.stop import OneSignal, Stop


@pytest.fixture
def stop(monkeypatch):
    monkeypatch.setattr(OneSignal, "WITHIN", 0.05)
    with Stop() as stop:
        stop.armed = True
        yield stop


def test_sigterm_twice_at_once_is_one_request(stop):
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stop()


def test_a_second_signal_later_ends_a_run_that_is_saving(stop):
    signal.raise_signal(signal.SIGTERM)
    time.sleep(0.1)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_to_a_run_that_stops_by_itself_ends_nothing(stop):
    stop.asked = True
    signal.raise_signal(signal.SIGTERM)
    assert stop()


def test_outside_training_a_signal_ends_the_run(stop):
    stop.armed = False
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
