"""A run's config, composed by a fork while this process imports torch."""

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from omegaconf import OmegaConf

from cbam_ablate import cli
from cbam_ablate.config.where import conf_dirs
from cbam_ablate.fork import fork

if TYPE_CHECKING:
    from cbam_ablate.sweep.asked import Outline


def while_torch_is_imported(texts: list[str], make: Callable[[list[str]], "Outline"]) -> "Outline":
    """What `make` makes of a command's tokens, in the time that importing torch takes on another core.

    A fork makes it, and sends it without tokens and loader, which a single run has no use for; of `composed`
    it sends the node `hydra`, in types that need no Hydra. Where the fork fails it ends as the command does,
    with its message and exit code, and so does this process. Where the process isn't the command's alone,
    where there can't be a fork, and where code, configs or settings of Hydra's might take part that would
    see two processes, this process makes it.
    """
    if not _may_fork(texts):
        return make(texts)
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    child = fork()
    if child is None:
        os.close(read)
        os.close(write)
        return make(texts)
    if not child:
        os.close(read)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command tells of Ctrl-C
        _send(make(texts), write)
    os.close(write)
    with _ending_with(child), open(read, "rb") as pipe:
        import torch  # noqa: F401

        sent = pipe.read()
    return pickle.loads(sent) if sent else make(texts)


def _may_fork(texts: list[str]) -> bool:
    return (
        cli.alone
        and "torch" not in sys.modules
        and sys.gettrace() is None
        and len(conf_dirs()) == 1
        and not any(":" in text or text.lstrip("+~").startswith("hydra") for text in texts)
    )


def _send(outline: "Outline", write: int) -> NoReturn:
    """Ends this fork, having sent what can be sent."""
    composed = OmegaConf.create({"hydra": OmegaConf.to_container(outline.composed.hydra)})
    try:
        with open(write, "wb") as pipe:
            sent = replace(outline, composed=composed, tokens=[], loader=None)  # type: ignore[arg-type]
            pipe.write(pickle.dumps(sent))
    finally:
        os._exit(0)


@contextlib.contextmanager
def _ending_with(child: int) -> Iterator[None]:
    """Ends this process once the child ends with an exit code; ends the child where the block raises."""

    def look(*_: object, how: int = os.WNOHANG) -> None:
        code = _exit_code(child, how)
        if code > 0:
            os._exit(code)

    before = signal.signal(signal.SIGCHLD, look)
    try:
        yield
        look(how=0)
    except BaseException:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            if os.waitpid(child, os.WNOHANG)[0] == 0:  # once it is waited for, its number may be another's
                os.kill(child, signal.SIGKILL)
        raise
    finally:
        signal.signal(signal.SIGCHLD, before)
        _exit_code(child, 0)


def _exit_code(child: int, how: int) -> int:
    """Its exit code, negative for a signal's; 0 where it hasn't ended, or is no child any longer."""
    try:
        pid, status = os.waitpid(child, how)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if pid else 0
