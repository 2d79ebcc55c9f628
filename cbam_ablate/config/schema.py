"""The typed schema of a run. Each option's unit, range and alternatives stand beside its default.

Options without a default here get it from their group in `conf/`.
"""

from dataclasses import dataclass, field
from typing import Any

from cbam_ablate.config.field import option
from cbam_ablate.config.output import FigureConfig, MetricsConfig, TableConfig
from cbam_ablate.registry import Attention, Augmentation, Backbone, Dataset, Loss, Optimizer, Schedule

PLACEMENTS = ("none", "block", "class", "both", "stage", "at")
POOLS = ("avg", "max", "lp", "lse")
ORDERS = ("channel_first", "spatial_first", "parallel", "channel_only", "spatial_only")
SPATIAL_DESCRIPTORS = ("pool", "conv")
DEVICES = r"auto|cpu|mps|cuda(:\d+)?"
"""What `train.device` may be."""


@dataclass
class AttentionConfig:
    """An attention module and where it stands in the network."""

    kind: str = option(help="attention module", part=Attention)
    placement: str = option(help="where in the network; at is what `at` makes of none", choices=PLACEMENTS)
    at: list[str] = option([], "names of modules whose outputs are attended to, in place of a placement; * "
                           "stands for a part between two dots", off=[])  # fmt: skip
    position: str = option("after", "block, at: attention after the block's last norm or the named module, "
                           "or before it", choices=("after", "before"), off="after")  # fmt: skip
    reduction: int | None = option(help="channel reduction ratio r of the gate's MLP; null is as published: "
                                   "16, of coordinate 32", low=1)  # fmt: skip
    kernel: int = option(help="side of the spatial convolution, pixels; odd", low=1)
    pool: list[str] = option(["avg", "max"], "channel descriptors whose MLP outputs are added", choices=POOLS)
    order: str = option("channel_first", "how the two gates combine", choices=ORDERS)
    mlp_bias: bool = option(True, "biases in the channel MLP")
    conv_bias: bool = option(False, "bias in the spatial convolution")
    spatial_norm: bool = option(True, "batch norm after the spatial convolution")
    residual: str = option(
        "none", "where the input is added back", choices=("none", "block", "class", "both")
    )
    descriptor: str = option("pool", "what the spatial gate sees: max and mean over channels, or a learned "
                             "1x1 convolution", choices=SPATIAL_DESCRIPTORS, off="pool")  # fmt: skip
    kernels: list[int] = option([], "eca: kernel for each width of map, in the network's order, or one "
                                "for all; empty goes by the formula", off=[])  # fmt: skip
    norm_momentum: float | None = option(None, "cbam, bam, coordinate, timm: momentum of its norms; null is "
                                         "as published", above=0, high=1, off=None)  # fmt: skip
    start: str = option("published", "identity: x + a (A(x) - x), where a is learned and starts at 0",
                        choices=("published", "identity"), off="published")  # fmt: skip
    combine: str = option("add", "bam: how its two maps meet: added, as in the paper, or multiplied, as in "
                          "the published code", choices=("add", "multiply"), off="add")  # fmt: skip
    timm: str | None = option(None, "attention=timm: name in timm.layers.create_attn", off=None)
    options: dict[str, Any] = option({}, "a module of one's own: its options by name", off={})

    @property
    def ratio(self) -> int:
        """The reduction as a number, where it was left open too."""
        return 16 if self.reduction is None else self.reduction


@dataclass
class ModelConfig:
    """The network."""

    backbone: str = option(help="network family", part=Backbone)
    depth: int | None = option(help="layers; null takes the backbone's default", low=1)
    width: int | None = option(None, "channels of the first stage; null takes the backbone's", low=1)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    stride_in_1x1: bool = option(False, "bottlenecks stride in their first 1x1 convolution, as the papers "
                                 "count FLOPs, not in the 3x3", off=False)  # fmt: skip
    pretrained: str | None = option(None, "weights to start from: a file, or by name imagenet or one of "
                                    "the library's own", off=None)  # fmt: skip
    stem: str = option("imagenet", "resnet_imagenet, resnext, mobilenet: for large images, or of stride 1 "
                       "for small ones; auto, what commands take, is cifar up to 64 pixels",
                       choices=("auto", "imagenet", "cifar"), off="imagenet")  # fmt: skip
    shortcut: str = option("conv", "resnet_cifar: where the shape changes, a 1x1 convolution (option B) or "
                           "zeros for the channels that are new (option A)", choices=("conv", "pad"),
                           off="conv")  # fmt: skip
    last_norm: bool = option(True, "resnet_preact: a norm and ReLU after the last block", off=True)
    cardinality: int = option(8, "resnext_cifar: groups", low=1, off=8)
    base_width: int = option(64, "resnext_cifar: channels of a group in the first stage", low=1, off=64)
    classifier: str = option("linear", "vgg: one layer, or two of 4096 before it", choices=("linear", "mlp"),
                             off="linear")  # fmt: skip
    dropout: float = option(0.0, "vgg, residual_attention: probability, in the classifier", low=0, below=1,
                            off=0.0)  # fmt: skip
    multiplier: float = option(1.0, "mobilenet: alpha, a factor on the width of every layer", above=0, high=4,
                               off=1.0)  # fmt: skip
    mode: str = option("arl", "residual_attention: (1 + M) T or, naively, M T", choices=("arl", "nal"),
                       off="arl")  # fmt: skip
    mask: str = option("mixed", "residual_attention: activation of the mask",
                       choices=("mixed", "channel", "spatial"), off="mixed")  # fmt: skip
    widths: str = option("published", "residual_attention: the paper's, or those of a re-implementation in "
                         "TensorFlow", choices=("published", "tensorflow"), off="published")  # fmt: skip
    timm: str | None = option(None, "backbone=timm: name of the network", off=None)
    torchvision: str | None = option(None, "backbone=torchvision: name of the network", off=None)
    options: dict[str, Any] = option({}, "a network of one's own: its options by name", off={})


@dataclass
class DataConfig:
    """A data set, its source and its split. Sizes are images."""

    name: str = option(help="data set", part=Dataset)
    root: str | None = option(None, "folder with a local copy; null looks in the cache, then downloads",
                              identity=False)  # fmt: skip
    cache: str | None = option(None, "decoded arrays; null is cbam_ablate in the user's cache folder",
                               identity=False)  # fmt: skip
    train_size: int | None = option(None, "class-balanced training subset; null is all that the split leaves",
                                    low=1, off=None)  # fmt: skip
    val_size: int | None = option(help="stratified validation images, taken from the training set", low=1)
    subset_seed: int = option(0, "which images the training subset holds", low=0, off=0)
    normalize: str = option("channel", "what is subtracted: each channel's mean, or each pixel's",
                            choices=("channel", "pixel"), off="channel")  # fmt: skip
    mean: list[float] | None = option(None, "of each channel, of pixels from 0 to 1, subtracted; null is the "
                                      "published or the training images'", off=None)  # fmt: skip
    std: list[float] | None = option(None, "of each channel, divided by; null as for mean", off=None)
    label_noise: float = option(0.0, "fraction of training labels replaced by another class, equally likely",
                                low=0, high=1, off=0.0)  # fmt: skip
    size: int | None = option(None, "folder: side of the images that the network sees, pixels",
                              low=8, high=1024, off=None)  # fmt: skip
    store_size: int | None = option(None, "short side that whole images are stored at, pixels; null is "
                                    "256/224 of the size, and of imagenet middle squares alone", low=8,
                                    high=2048, off=None)  # fmt: skip
    channels: int | None = option(None, "folder: 1 (grey) or 3 (colour); null is 1 where all files are grey",
                                  choices=(1, 3), off=None)  # fmt: skip
    classes: list[str] | None = option(None, "folder: the folders that are classes, in order; null is all by "
                                       "name", off=None)  # fmt: skip
    val_fraction: float | None = option(None, "of the training images of a set without a validation part; "
                                        "null is 0.1", above=0, below=1, off=None)  # fmt: skip
    test_fraction: float | None = option(None, "of all images of a set without a test part; null is 0.2",
                                         above=0, below=1, off=None)  # fmt: skip
    val_as: str = option("test", "folder: what val/ is where there is no test/: the test images, as "
                         "ImageNet's are, or the validation images", choices=("test", "val"),
                         off="test")  # fmt: skip
    group: str | None = option(None, "folder: regular expression over file names; files whose match (or its "
                               "first group) is alike stay in one part", off=None)  # fmt: skip
    split_seed: int = option(0, "which images our own test and validation parts hold", low=0, off=0)
    sampler: str = option("shuffle", "order of an epoch: every image once, or every class equally often",
                          choices=("shuffle", "balanced"), off="shuffle")  # fmt: skip
    exif: bool = option(False, "folder: turn images as their EXIF orientation says", off=False)
    range: list[float] | None = option(None, "values of 16-bit and float images that become 0 and 255; null "
                                       "is 0 to 65535, and 0 to 1 of floats", off=None)  # fmt: skip
    options: dict[str, Any] = option({}, "a data set of one's own: its options by name", off={})
    content: str | None = option(None, "hash of a folder's or file's images, filled in; if set, others are "
                                 "refused", off=None)  # fmt: skip


@dataclass
class AugmentConfig:
    """Training augmentation, drawn anew for each image and epoch."""

    crop_padding: int = option(help="zero padding of the random crop, pixels", low=0, high=64, off=0)
    flip: bool = option(help="horizontal flip with probability 1/2", off=False)
    random_resized_crop: bool = option(False, "a part of the image of random area and aspect, resized",
                                       off=False)  # fmt: skip
    crop_scale: list[float] = option([0.08, 1.0], "random_resized_crop: its area in parts of the image's, "
                                     "from and to", off=[0.08, 1.0])  # fmt: skip
    crop_ratio: list[float] = option([0.75, 4 / 3], "random_resized_crop: its width over its height, from "
                                     "and to", off=[0.75, 4 / 3])  # fmt: skip
    rotation: float = option(0.0, "most degrees turned about the centre, either way; zeros come in",
                             low=0, high=180, off=0.0)  # fmt: skip
    shift: float = option(0.0, "most shift along x and along y, in parts of the side; zeros come in",
                          low=0, high=1, off=0.0)  # fmt: skip
    erasing: float = option(0.0, "probability that a rectangle of an image is erased", low=0, high=1, off=0.0)
    erasing_range: str = option("timm", "areas and ratios: timm's (0.02 to 1/3, 0.3 to 1/0.3) or "
                                "torchvision's (0.02 to 0.33, 0.3 to 3.3)", choices=("timm", "torchvision"),
                                off="timm")  # fmt: skip
    cutmix_rounding: str = option("edges", "to whole pixels: of the box's edges, or as published of its "
                                  "half sides, downwards", choices=("edges", "published"),
                                  off="edges")  # fmt: skip
    mixup: float = option(0.0, "alpha of the Beta distribution of mixup's shares; 0 is off", low=0, high=100,
                          off=0.0)  # fmt: skip
    cutmix: float = option(0.0, "alpha of the Beta distribution of cutmix's areas; 0 is off", low=0, high=100,
                           off=0.0)  # fmt: skip
    own: str | None = option(None, "module:Name of one's own, applied to each batch after all but mixing",
                             part=Augmentation, off=None)  # fmt: skip
    options: dict[str, Any] = option({}, "an augmentation of one's own: its options by name", off={})


@dataclass
class LossConfig:
    """What training makes small; validation and test losses stay plain cross entropy."""

    name: str = option("cross_entropy", "what training makes small", part=Loss, off="cross_entropy")
    class_weights: Any = option("none", "none, balanced (inverse to each class's images), or a list of "
                                "one a class", off="none")  # fmt: skip
    gamma: float = option(2.0, "focal: power of 1 - p; 0 is cross entropy", low=0, high=10, off=2.0)
    options: dict[str, Any] = option({}, "a loss of one's own: its options by name", off={})
    alpha: float | None = option(None, "focal, two classes: weight of class 1; that of class 0 is 1 - alpha",
                                 above=0, below=1, off=None)  # fmt: skip


@dataclass
class OptimizerConfig:
    """The optimiser."""

    name: str = option(help="algorithm", part=Optimizer)
    lr: float = option(help="peak learning rate", above=0, high=100)
    weight_decay: float = option(help="L2 coefficient (decoupled in adamw)", low=0, high=1)
    momentum: float = option(0.9, "sgd", low=0, below=1)
    nesterov: bool = option(True, "sgd")
    beta1: float = option(0.9, "adam, adamw", low=0, below=1)
    beta2: float = option(0.999, "adam, adamw", low=0, below=1)
    decay_norm_bias: bool = option(True, "weight decay on norms and biases too", off=True)
    clip_norm: float | None = option(None, "largest gradient norm; null doesn't clip", above=0, off=None)
    options: dict[str, Any] = option({}, "an optimiser of one's own: its options by name", off={})


@dataclass
class ScheduleConfig:
    """The learning rate over the run, set at every step."""

    name: str = option(help="shape", part=Schedule)
    warmup_epochs: float = option(0.0, "linear warm-up from 0, epochs", low=0, off=0.0)
    milestones: list[float] = option([0.5, 0.75], "step: where the rate drops, as fractions of the run")
    gamma: float = option(0.1, "step: factor at each milestone", above=0, below=1)
    options: dict[str, Any] = option({}, "a schedule of one's own: its options by name", off={})


@dataclass
class TrainConfig:
    """The training run."""

    epochs: int = option(100, "passes over the training images", low=1)
    batch_size: int = option(128, "images a step; a last partial batch is dropped", low=1)
    label_smoothing: float = option(0.0, "cross entropy", low=0, below=1, off=0.0)
    ema: float = option(0.0, "decay of the weights' moving average a step, which is then evaluated; 0 is off",
                        low=0, below=1, off=0.0)  # fmt: skip
    select: str = option("val_top1", "what chooses the epoch: a validation metric, say val_f1_macro, or last",
                         off="val_top1")  # fmt: skip
    resume_from: str | None = option(None, "run key or checkpoint to go on from, as a new run", off=None)
    precision: str = option("auto", "auto is bf16 where the device has it in hardware",
                            choices=("auto", "bf16", "fp32"), off="auto")  # fmt: skip
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps (a Mac's)", identity=False)
    compile: str = option("auto", "on CUDA all but off record the step; on: compiled too; auto: if that pays",
                          choices=("auto", "on", "graph", "off"), identity=False)  # fmt: skip
    accel: str = option("auto", "off: plain PyTorch, without passes in C, recorded steps and fused runs",
                        choices=("auto", "off"), identity=False)  # fmt: skip
    threads: int | None = option(
        None, "CPU threads; null shares the cores among the jobs", low=1, identity=False
    )
    save_every: int = option(1, "epochs between writes of last.pt", low=1, identity=False)
    log_every: int = option(
        100, "steps between lines on the terminal; 0 is epochs only", low=0, identity=False
    )


@dataclass
class WandbConfig:
    """Weights & Biases."""

    enabled: bool = option(False, "a W&B run for each run, a table for each study; logger=wandb sets it",
                          identity=False)  # fmt: skip
    project: str | None = option(None, "null takes WANDB_PROJECT, else cbam-ablate", identity=False)
    entity: str | None = option(None, "team or user; null takes the account's own", identity=False)
    mode: str = option("auto", "auto takes WANDB_MODE, else is online with an API key and offline without",
                       choices=("auto", "online", "offline", "disabled"), identity=False)  # fmt: skip


@dataclass
class LoggerConfig:
    """Views of what the store holds."""

    csv: bool = option(False, "history.csv beside history.jsonl", identity=False)
    tensorboard: bool = option(False, "event files in <store>/tensorboard", identity=False)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    own: dict[str, str] = option({}, "loggers of your own by name, each module:Class", identity=False)


@dataclass
class SweepConfig:
    """How a sweep is run."""

    mode: str = option("cached", "cached runs what isn't finished, retry only what failed, force everything, "
                       "read_only nothing", choices=("cached", "retry", "force", "read_only"))  # fmt: skip
    dry_run: bool = option(False, "print the plan and stop")
    extend: bool = option(False, "accept that the study's cells changed since it was last run")
    detach: bool = option(False, "hand the runs to the launcher's engine and leave")
    fail_fast: bool = option(False, "stop at the first failed run")
    max_failures: int | None = option(None, "stop after so many failed runs", low=1)
    retries: int = option(1, "further tries of a run that was killed or ran out of memory", low=0)
    timeout_minutes: float | None = option(None, "time limit of one run", above=0)
    max_hours: float | None = option(None, "refuse to start a sweep estimated to take longer", above=0)
    probe: bool = option(False, "time a few steps of each network where the store knows none")


@dataclass
class RunConfig:
    """Everything one run depends on, and how it is run."""

    seed: int = option(0, "seed of weights, data order and augmentation", low=0, high=2**31 - 1)
    name: str | None = option(None, "a run's name for people; of a sweep (or study.name=) its study's",
                              identity=False)  # fmt: skip
    code: dict[str, str] = option(
        {}, "filled in: the sha256 of the source of each of one's own parts", off={}
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    store: str = option("outputs", "root of the run store", identity=False)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    table: TableConfig = field(default_factory=TableConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    figure: FigureConfig = field(default_factory=FigureConfig)
