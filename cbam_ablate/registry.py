"""What can be chosen by name, known without torch: networks, attention modules, data sets and the rest.

A row says what is true of a part without building it. Rows stand in a table beside the code that they
describe, and the table is imported when its kind is first asked for: `find(Attention, "cbam")` is a row, its
`load()` the code. `module:Name` in place of a name is a part of one's own, and so is the name of an entry
point, by which installed packages offer theirs.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Self, TypeVar

from cbam_ablate import own
from cbam_ablate.errors import ConfigError
from cbam_ablate.part import TARGET, Part, load
from cbam_ablate.source import Stamp, source_hash, state_of

__all__ = [
    "OF_ARRAYS", "TARGET", "Attention", "Augmentation", "Backbone", "Dataset", "Logger", "Loss", "Metric",
    "Optimizer", "Part", "Schedule", "code_of", "counts", "facts", "find", "kinds", "load", "own_target",
    "rows",
]  # fmt: skip


def _unknown(depth: int, width: int) -> tuple[int, ...]:
    return ()


@dataclass(frozen=True)
class Backbone(Part):
    """`builder` takes a `ModelConfig`, the number of classes and of input channels; one's own the side too.

    `channels(depth, width)` are the channels of each stage's output, which is what attention gates. `uses`
    are the options of `ModelConfig` that it reads beside depth, width and attention, `needs` those of them
    that must be set. `published` are the depths that torchvision has ImageNet weights of (of vgg its
    convolutions), at the backbone's own width and in colour. Networks that go by a name have neither depths
    nor a width.
    """

    option: ClassVar[str] = "model.backbone"
    group: ClassVar[str] = "backbone"
    table: ClassVar[str] = "cbam_ablate.models.backbones:BACKBONES"
    hands: ClassVar[frozenset[str]] = frozenset({"num_classes", "in_channels", "depth", "width"})
    own_builder: ClassVar[str] = "cbam_ablate.models.backbones.foreign:own"
    depths: tuple[int, ...] = ()
    width: int | None = None
    channels: Callable[[int, int], tuple[int, ...]] = _unknown
    needs: frozenset[str] = frozenset()
    published: tuple[int, ...] = ()

    @property
    def default_depth(self) -> int | None:
        return self.depths[0] if self.depths else None


@dataclass(frozen=True)
class Attention(Part):
    """`builder` takes the map's channels and an `AttentionConfig`.

    `uses` are the options of `AttentionConfig` that it reads, `needs` those of them that must be set, and
    `choices` what those of them may be that are this part's own. `reduction` is the published one,
    `narrowest` what its bottleneck has at least, in channels.
    """

    option: ClassVar[str] = "model.attention.kind"
    group: ClassVar[str] = "attention"
    table: ClassVar[str] = "cbam_ablate.models.attention:ATTENTIONS"
    hands: ClassVar[frozenset[str]] = frozenset({"reduction", "kernel"})
    own_builder: ClassVar[str] = "cbam_ablate.models.attention:own"
    needs: frozenset[str] = frozenset()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reduction: int = 16
    narrowest: int = 1

    @classmethod
    def leads_of(cls, code: Callable[..., Any], parameters: own.Parameters) -> int:
        return int(own.takes_channels(parameters))


OF_ARRAYS = frozenset(
    "size channels classes val_fraction test_fraction val_as split_seed range content".split()  # noqa: SIM905
)
"""The options of `DataConfig` that are read, or filled in, of images that come as arrays."""


@dataclass(frozen=True)
class Dataset(Part):
    """`builder` takes a `DataConfig` and gives arrays. Sizes are images; `size` is pixels a side.

    `uses` are the options of `DataConfig` that it alone reads. Where the facts aren't known beforehand,
    `discover` is the module that finds them: its `resolved(data)` fills in the options that say them, its
    `counts(data)` the images of train, val and test. `names` are the classes', a space between.
    """

    option: ClassVar[str] = "data.name"
    group: ClassVar[str] = "data"
    table: ClassVar[str] = "cbam_ablate.data:DATASETS"
    hands: ClassVar[frozenset[str]] = frozenset({"root"})
    own_builder: ClassVar[str] = "cbam_ablate.data.folder:folder"
    classes: int = 0
    train: int = 0
    test: int = 0
    size: int = 0
    channels: int = 3
    names: str = ""
    discover: str | None = None

    @classmethod
    def chosen(cls, name: str) -> dict[str, Any]:
        return {"name": name, "val_size": None}

    @classmethod
    def of_own(cls, target: str, code: Callable[..., Any]) -> Self:
        """A function of one's own that gives arrays, which are looked at to find the facts."""
        row = super().of_own(target, code)
        return replace(row, uses=row.uses | OF_ARRAYS, discover="cbam_ablate.data.discover")


@dataclass(frozen=True)
class Optimizer(Part):
    """`builder` takes parameter groups and an `OptimizerConfig`, of which it alone reads `uses`."""

    option: ClassVar[str] = "optimizer.name"
    group: ClassVar[str] = "optimizer"
    table: ClassVar[str] = "cbam_ablate.training:OPTIMIZERS"
    leading: ClassVar[int] = 1
    hands: ClassVar[frozenset[str]] = frozenset(
        {"lr", "weight_decay", "momentum", "nesterov", "beta1", "beta2"}
    )
    own_builder: ClassVar[str] = "cbam_ablate.training.optimizer:own"

    @classmethod
    def chosen(cls, name: str) -> dict[str, Any]:
        """The learning rate and weight decay are the signature's own, where it has them."""
        parameters = own.parameters_of(own.load_own(own_target(cls, name), cls.option))
        found = {one: parameters[one].default for one in ("lr", "weight_decay") if one in parameters}
        numbers = {one: value for one, value in found.items() if isinstance(value, int | float)}
        return {"name": name, "weight_decay": 0.0, **numbers}


@dataclass(frozen=True)
class Schedule(Part):
    """`builder` takes a `ScheduleConfig`, of which it alone reads `uses`, and the steps of warm-up and run.

    It gives the factor on the learning rate at a step after the warm-up.
    """

    option: ClassVar[str] = "schedule.name"
    group: ClassVar[str] = "schedule"
    table: ClassVar[str] = "cbam_ablate.training:SCHEDULES"
    leading: ClassVar[int] = 1
    hands: ClassVar[frozenset[str]] = frozenset({"warmup", "total"})
    own_builder: ClassVar[str] = "cbam_ablate.training.optimizer:own_schedule"

    @classmethod
    def leads_of(cls, code: Callable[..., Any], parameters: own.Parameters) -> int:
        return 0 if isinstance(code, type) else cls.leading


@dataclass(frozen=True)
class Augmentation(Part):
    """A function of a training batch's images (N, C, H, W), or a class whose objects are such functions."""

    option: ClassVar[str] = "augment.own"
    group: ClassVar[str] = "augment"
    leading: ClassVar[int] = 1

    @classmethod
    def leads_of(cls, code: Callable[..., Any], parameters: own.Parameters) -> int:
        return 0 if isinstance(code, type) else cls.leading

    @classmethod
    def chosen(cls, name: str) -> dict[str, Any]:
        return {"own": name, "crop_padding": 0, "flip": False}


@dataclass(frozen=True)
class Loss(Part):
    """`builder` takes a `LossConfig`, of which it alone reads `uses`, the smoothing and the class weights.

    It gives a function of logits and labels. Ours take class weights; one that `smooths` reads
    `train.label_smoothing`. One's own is given those of both that its signature names.
    """

    option: ClassVar[str] = "loss.name"
    group: ClassVar[str] = "loss"
    table: ClassVar[str] = "cbam_ablate.training:LOSSES"
    leading: ClassVar[int] = 2
    hands: ClassVar[frozenset[str]] = frozenset({"class_weights", "label_smoothing"})
    own_builder: ClassVar[str] = "cbam_ablate.training.loss:own"
    smooths: bool = False

    @classmethod
    def leads_of(cls, code: Callable[..., Any], parameters: own.Parameters) -> int:
        return 0 if isinstance(code, type) else cls.leading

    def reads(self, name: str) -> bool:
        """Whether it takes the class weights or the smoothing of labels."""
        return name in self.uses if self.target else name == "class_weights" or self.smooths


@dataclass(frozen=True)
class Logger(Part):
    """`builder` is a class that follows a run, see `cbam_ablate/loggers/follow.py`."""

    option: ClassVar[str] = "logger.own"
    group: ClassVar[str] = "logger"
    table: ClassVar[str] = "cbam_ablate.loggers:LOGGERS"

    @classmethod
    def chosen(cls, name: str) -> dict[str, Any]:
        return {"own": {name.rpartition(":")[2]: name}}


@dataclass(frozen=True)
class Metric(Part):
    """A function of labels (N,) and probabilities (N, K) that gives a number."""

    option: ClassVar[str] = "metrics.own"
    group: ClassVar[str] = "metric"
    leading: ClassVar[int] = 2


P = TypeVar("P", bound=Part)


def rows(kind: type[P]) -> Mapping[str, P]:
    """The known parts of a kind by name."""
    found: Mapping[str, P] = _table(kind.table) if kind.table else {}
    return found


@cache
def _table(target: str) -> Any:
    return load(target)


def kinds() -> dict[str, type[Part]]:
    """The kinds of parts by their group."""
    return {kind.group: kind for kind in Part.__subclasses__()}


def own_target(kind: type[Part], name: str) -> str:
    """`module:Name` of one's own part that goes by a name, or is called so by a package; empty if none."""
    if not kind.owns or name in rows(kind):
        return ""
    return name if TARGET.fullmatch(name) else own.entry_points(kind.group).get(name, "")


_own: dict[tuple[type[Part], str], tuple[tuple[Stamp, ...], Part]] = {}
"""The rows of one's own parts, as their files were."""


def find(kind: type[P], name: str, option: str | None = None) -> P:
    """The part called `name`, or one's own, `module:Name` or the name of an entry point.

    Raises `ConfigError` naming those there are, and the `option` that was given, by default the kind's.
    """
    option = option or kind.option
    known = rows(kind)
    if name in known:
        return known[name]
    target = own_target(kind, name)
    if target:
        return _find_own(kind, target, option)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if not known:
        raise ConfigError(f"{option}={name}: must be module:Name, say my_{kind.group}s:Mine")
    yours = ", or module:Name of your own" if kind.owns else ""
    raise ConfigError(f"{option}={name}: not one of {', '.join(known)}{yours}{hint}")


def _find_own(kind: type[P], target: str, option: str) -> P:
    own.use_working_folder()
    kept = _own.get((kind, target))
    try:
        state = state_of(target)
    except ConfigError as error:
        raise ConfigError(f"{option}={target}: {error}") from error
    if kept is None or kept[0] != state:
        code = own.load_own(target, option)
        kept = _own[kind, target] = state_of(target), kind.of_own(target, code)
    row: Any = kept[1]
    found: P = row
    return found


def code_of(kind: type[Part], name: str) -> str | None:
    """The sha256 of the source of one's own part; None for a part of ours."""
    target = own_target(kind, name)
    if not target:
        return None
    find(kind, name)
    return source_hash(target)


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
