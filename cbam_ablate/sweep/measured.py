"""Measures the networks of runs by turns, and keeps what was found beside each run."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import torch
from torch import nn

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.inference import Condition, keep_inference
from cbam_ablate.models import build_model
from cbam_ablate.registry import facts
from cbam_ablate.runs import Run
from cbam_ablate.runs.provenance import provenance
from cbam_ablate.training.device import device_name, pick_device, pick_precision, use
from cbam_ablate.training.inference import Inference, measure
from cbam_ablate.training.layout import lay_out

Alike = tuple[RunConfig, list[Run]]
"""A network's config, and the runs that have it."""


def measure_all(networks: Sequence[Alike], batch: int, rounds: int, compiled: bool) -> Iterator[str]:
    """Measures every network, eager and, where asked, `compiled`; yields a line for each.

    All must be of one image size. Raises `ConfigError` otherwise.
    """
    first = networks[0][0]
    shapes = {(known.channels, known.size) for cfg, _ in networks if (known := facts(cfg.data))}
    if len(shapes) > 1:
        raise ConfigError("measure: these networks take images of different sizes, which can't be compared")
    device = pick_device(first.train.device)
    use(device, first.train.threads)
    precision = pick_precision(first.train.precision, device)
    channels, size = shapes.pop()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.manual_seed(0)
    images = torch.randn(batch, channels, size, size, dtype=dtype, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads() if device.type == "cpu" else None
    for how in (False, True) if compiled else (False,):
        built = {str(place): _network(cfg, device, how) for place, (cfg, _) in enumerate(networks)}
        condition = Condition(device_name(device), precision, how, threads, batch)
        try:
            with _graphs_for(len(built)) if how else nullcontext():
                found = measure(built, images, device, precision, rounds)
        except Exception as error:  # compilers fail in every way there is
            if not how:
                raise
            yield f"torch.compile does not work here, so nothing was measured compiled: {error}"
            return
        yield f"{condition}:"
        for place, (cfg, runs) in enumerate(networks):
            inference = found[str(place)]
            entry = {
                **{
                    name: part._asdict()
                    for name, part in inference._asdict().items()
                    if hasattr(part, "_asdict")
                },
                "weights_mib": inference.weights_mib,
                "peak_mib": inference.peak_mib,
                "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                "code_sha256": provenance()["code_sha256"],
                "torch": torch.__version__,
            }
            for run in runs:
                keep_inference(run, condition, entry)
            yield _line(cfg, runs, inference)


def _graphs_for(networks: int) -> AbstractContextManager[None]:
    """PyTorch keeps eight graphs of a function, and from then on runs it eagerly without a word."""
    return torch._dynamo.config.patch(recompile_limit=8 * networks)


def _network(cfg: RunConfig, device: torch.device, compiled: bool) -> nn.Module:
    network = lay_out(cfg, build_model(cfg, pretrained=False), device).eval()
    if compiled:
        return torch.compile(network, dynamic=False)  # type: ignore[return-value]
    return network


def _line(cfg: RunConfig, runs: Sequence[Run], found: Inference) -> str:
    attention = cfg.model.attention
    what = "no attention" if attention.placement == "none" else f"{attention.kind} {attention.placement}"
    latency, rate = found.latency_ms, found.images_per_second
    return (
        f"  {runs[0].key[:8]} ({len(runs)} runs) {cfg.model.backbone} {what}: {latency.median:.3f} ms "
        f"[{latency.low:.3f}, {latency.high:.3f}], {rate.median:.0f} images/s "
        f"[{rate.low:.0f}, {rate.high:.0f}], {found.peak_mib:.1f} MiB ({found.weights_mib:.1f} of weights)"
    )
