"""What can be chosen by name, known without torch: networks, attention modules, data sets and the rest.

A row says what is true of a part without building it. Rows stand in a table beside the code that they
describe, and the table is imported when its kind is first asked for: `find(Attention, "cbam")` is a row, its
`load()` the code.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from cbam_ablate.errors import ConfigError

TARGET = re.compile(r"\w+(\.\w+)*:\w+")
"""`module:name`, the spelling of one's own parts and of where ours are."""


@dataclass(frozen=True)
class Part:
    """A row. `builder` is `module:name` of the code that makes the part.

    Of each kind, `option` is the option that names it, `table` is `module:name` of its rows, and `own` says
    whether `module:name` of anybody's code may stand in place of a name.
    """

    builder: str
    option: ClassVar[str]
    table: ClassVar[str]
    own: ClassVar[bool] = False

    def load(self) -> Callable[..., Any]:
        """The code; torch may be imported with it."""
        return load(self.builder)


def _unknown(depth: int, width: int) -> tuple[int, ...]:
    return ()


@dataclass(frozen=True)
class Backbone(Part):
    """`builder` takes a `ModelConfig`, the number of classes and of input channels.

    `channels(depth, width)` are the channels of each stage's output, which is what attention gates. `uses`
    are the options of `ModelConfig` that it reads beside depth, width and attention, `needs` those of them
    that must be set. `published` are the depths that torchvision has ImageNet weights of, at the backbone's
    own width and in colour. Networks that go by a name have neither depths nor a width.
    """

    option: ClassVar[str] = "model.backbone"
    table: ClassVar[str] = "cbam_ablate.models.backbones:BACKBONES"
    depths: tuple[int, ...] = ()
    width: int | None = None
    channels: Callable[[int, int], tuple[int, ...]] = _unknown
    uses: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    published: tuple[int, ...] = ()

    @property
    def default_depth(self) -> int | None:
        return self.depths[0] if self.depths else None


@dataclass(frozen=True)
class Attention(Part):
    """`builder` takes the map's channels and an `AttentionConfig`.

    `uses` are the options of `AttentionConfig` that it reads, `needs` those of them that must be set, and
    `choices` what those of them may be that are this part's own.
    """

    option: ClassVar[str] = "model.attention.kind"
    table: ClassVar[str] = "cbam_ablate.models.attention:ATTENTIONS"
    uses: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset(Part):
    """`builder` takes a `DataConfig` and gives arrays. Sizes are images; `size` is pixels a side.

    `uses` are the options of `DataConfig` that it alone reads. Where the facts aren't known beforehand,
    `discover` is the module that finds them: its `resolved(data)` fills in the options that say them, its
    `counts(data)` the images of train, val and test.
    """

    option: ClassVar[str] = "data.name"
    table: ClassVar[str] = "cbam_ablate.data:DATASETS"
    classes: int = 0
    train: int = 0
    test: int = 0
    size: int = 0
    channels: int = 3
    uses: frozenset[str] = frozenset()
    discover: str | None = None


@dataclass(frozen=True)
class Optimizer(Part):
    """`builder` takes parameter groups and an `OptimizerConfig`, of which it alone reads `uses`."""

    option: ClassVar[str] = "optimizer.name"
    table: ClassVar[str] = "cbam_ablate.training:OPTIMIZERS"
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Schedule(Part):
    """`builder` takes a `ScheduleConfig`, of which it alone reads `uses`, and the steps of warm-up and run.

    It gives the factor on the learning rate at a step after the warm-up.
    """

    option: ClassVar[str] = "schedule.name"
    table: ClassVar[str] = "cbam_ablate.training:SCHEDULES"
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Logger(Part):
    """`builder` is a class that follows a run, see `cbam_ablate/loggers/follow.py`."""

    option: ClassVar[str] = "logger.own"
    table: ClassVar[str] = "cbam_ablate.loggers:LOGGERS"
    own: ClassVar[bool] = True


P = TypeVar("P", bound=Part)


def rows(kind: type[P]) -> Mapping[str, P]:
    """The known parts of a kind by name."""
    found: Mapping[str, P] = _table(kind.table)
    return found


@cache
def _table(target: str) -> Any:
    return load(target)


def find(kind: type[P], name: str, option: str | None = None) -> P:
    """The part called `name`; one's own, `module:Name`, where its kind takes such.

    Raises `ConfigError` naming those there are, and the `option` that was given, by default the kind's.
    """
    option = option or kind.option
    known = rows(kind)
    if name in known:
        return known[name]
    if kind.own:
        if TARGET.fullmatch(name):
            return kind(name)
        raise ConfigError(f"{option}={name}: must be module:Class, say my_loggers:Ping")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{option}={name}: not one of {', '.join(known)}{hint}")


def facts(data: Any) -> Dataset:
    """What is true of a `DataConfig`'s data set: classes, size and channels; counts where they are fixed.

    Needs no image. Of a data set that has to be looked at, `data` is resolved.
    """
    row = find(Dataset, data.name)
    if row.discover is None:
        return row
    return replace(row, classes=len(data.classes or ()), size=data.size or 0, channels=data.channels or 0)


def counts(data: Any) -> tuple[int, int, int]:
    """The images to train on, for validation and to test. Raises `DataError` where they can't be found."""
    row = find(Dataset, data.name)
    if row.discover is None:
        return data.train_size or row.train - data.val_size, data.val_size, row.test
    train, val, test = import_module(row.discover).counts(data)
    return data.train_size or train, val, test


def load(target: str) -> Any:
    """What `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
