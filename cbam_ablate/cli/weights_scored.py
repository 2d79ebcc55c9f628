"""Scores a file of weights without any training: what `evaluate weights=FILE` does."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cbam_ablate.config import load_config
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, UserError

WEIGHTS, PART = "weights=", "part="


def score_weights(arguments: Sequence[str]) -> int:
    """Prints the scores of the weights in the network, and on the data, that the other tokens describe."""
    path = next(text.removeprefix(WEIGHTS) for text in arguments if text.startswith(WEIGHTS))
    part = next((text.removeprefix(PART) for text in arguments if text.startswith(PART)), "test")
    if part not in ("test", "val"):
        raise ConfigError(f"part={part}: not one of test, val")
    file = os.path.expanduser(path)
    if not os.path.isfile(file):
        raise ConfigError(f"weights={path}: {'a folder' if os.path.isdir(file) else 'no such file'}")
    words = [text for text in arguments if not text.startswith((WEIGHTS, PART))]
    # bf16 would move the last printed digit.
    exact = [] if any(text.startswith("train.precision=") for text in words) else ["train.precision=fp32"]
    cfg = load_config([*words, *exact])
    cfg.model.pretrained = str(Path(path).expanduser())
    print(json.dumps({"weights": path, "part": part, **_scores(cfg, part)}))
    return 0


def _scores(cfg: RunConfig, part: str) -> dict[str, object]:
    from cbam_ablate.accel import accelerate, allowed
    from cbam_ablate.data import make_feed
    from cbam_ablate.models import build_model
    from cbam_ablate.models.weights import GATE, load_pretrained
    from cbam_ablate.training.device import pick_device, pick_precision
    from cbam_ablate.training.evaluate import autocast, evaluate
    from cbam_ablate.training.layout import lay_out

    network = build_model(cfg, pretrained=False)
    try:
        report = load_pretrained(network, cfg.model)
    except UserError as error:
        raise type(error)(str(error).replace("model.pretrained=", WEIGHTS, 1)) from error
    if report.fresh:
        raise ConfigError(
            f"weights={cfg.model.pretrained}: the network isn't all in it, so there is nothing to score "
            f"({report})"
        )
    gates = [name for name in report.unused if GATE.search(name)]
    if gates:
        raise ConfigError(
            f"weights={cfg.model.pretrained}: {len(gates)} tensors of attention have no place in this "
            f"network, whose score would not be the file's; say what it was trained with ({report})"
        )
    device = pick_device(cfg.train.device)
    precision = pick_precision(cfg.train.precision, device)
    network = lay_out(cfg, network, device)
    if allowed(cfg.train.accel):
        accelerate(network, device)
    feed = make_feed(cfg, device, precision)
    scores = evaluate(network, feed.evaluate(part), device, autocast(device, precision))
    params = sum(parameter.numel() for parameter in network.parameters())
    left = {name: text for name, text in report.summary().items() if name in ("layout", "loaded", "unused")}
    return {**left, "precision": precision, "params": params, **scores._asdict()}
