"""How a run is told to stop: by a signal, which lets it save, or by its time limit."""

import signal
import threading
import time
from types import FrameType
from typing import Any


class TimedOut(BaseException):
    """The run's time limit has passed. No `except Exception` on the way may take it for its own."""


class OneSignal:
    """Tells SIGTERM that comes again at once, as `timeout` sends it to a process and then to its group."""

    WITHIN = 1.0
    """Seconds within which several are one."""

    def __init__(self) -> None:
        self._last = self._told = float("-inf")

    def again(self, number: int) -> bool:
        before, self._last = self._last, time.monotonic()
        if number == signal.SIGTERM and self._last - before < self.WITHIN:
            return True
        if number == signal.SIGTERM:
            self._told = self._last
        return False

    def leave(self, handler: Any) -> None:
        """Gives SIGTERM back to its handler, to one that ends the process when the second is over."""
        if handler == signal.SIG_DFL:
            time.sleep(max(0.0, self._told + self.WITHIN - time.monotonic()))
        signal.signal(signal.SIGTERM, handler)


class Stop:
    """Turns the first SIGINT or SIGTERM of a training run into a request to save and end; the second ends it.

    Outside training, when there is nothing to save, the first ends it too. Whoever sets `asked` asks for the
    same, and a signal after that is the first. `minutes` is a time limit for
    each of `runs` that are trained together.
    """

    def __init__(self, minutes: float | None = None, runs: int = 1) -> None:
        self.asked = False
        self.armed = False
        self._signalled = False
        self._minutes, self._runs = minutes, runs
        self._old: dict[int, Any] = {}
        self._signal = OneSignal()

    def __call__(self) -> bool:
        return self.asked

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._on_signal)
            if self._minutes is not None:
                self._old[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_alarm)
                signal.setitimer(signal.ITIMER_REAL, 60 * self._minutes * self._runs)
        return self

    def __exit__(self, *_: object) -> None:
        if signal.SIGALRM in self._old:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._old.items():
            if number == signal.SIGTERM:
                self._signal.leave(handler)
            else:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal.again(number):
            return
        if self._signalled or not self.armed:
            raise KeyboardInterrupt
        self._signalled = self.asked = True

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        each = f" for each of {self._runs} runs together" if self._runs > 1 else ""
        raise TimedOut(f"longer than sweep.timeout_minutes={self._minutes:g}{each}")
