"""How a sweep departs from its study's file: published numbers stand beside the networks it declares."""

from collections.abc import Collection, Sequence
from typing import Any

from cbam_ablate.config.canonical import canonical_in, effective, resolved
from cbam_ablate.config.compose import Loader, compose, typed
from cbam_ablate.config.once import Memo
from cbam_ablate.config.options import difference
from cbam_ablate.config.overrides import Token
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.asked import Cell, Departure
from cbam_ablate.sweep.cells import make_cells
from cbam_ablate.sweep.declare import axis_name, declare, expand

SECTIONS = ("augment", "data", "loss", "optimizer", "schedule", "train")


def departure(cells: Sequence[Cell], tokens: Sequence[Token], loader: Loader, once: Memo) -> Departure:
    """What the command changed of the networks and of the training that the study's file declares.

    `tokens` are the command's, of which the study alone keeps itself, its data and where Hydra searches. None
    are known of a study that stands only with the command's words.
    """
    own = [token for token in tokens if _kept(token)]
    fixed = [token for token in own if not token.sweeps]
    try:
        composed = compose(fixed, loader)
        ours = [token for token in own if not token.name.startswith("hydra")]
        declaration = declare(ours, composed.hydra.sweeper)
        plain = typed(composed)
        alone = make_cells(composed, plain, fixed, expand(declaration), declaration.axes, loader, once)
        file = compose([token for token in fixed if not _of_data(token)], loader)
        by_file, axes = resolved(typed(file)), declare([], file.hydra.sweeper).axes
    except ConfigError:
        return Departure()
    good = [cell for cell in alone if not cell.broken]
    if not good:
        return Departure()
    declared = [_network(cell, once) for cell in good]
    keys = dict.fromkeys(cell.key for cell in cells if _network(cell, once) not in declared)
    here, varied = cells[0].cfg, {*cells[0].axes, *axes}
    if here.data.name != by_file.data.name:  # what its numbers are of says a reference itself
        varied |= {name for name in effective(here) | effective(by_file) if name.startswith("data.")}
    return Departure(list(keys), difference(_training(by_file, varied), _training(here, varied)))


def _kept(token: Token) -> bool:
    return axis_name(token.name) in ("study", "hydra.searchpath") or _of_data(token)


def _of_data(token: Token) -> bool:
    return axis_name(token.name).startswith("data.")


def _network(cell: Cell, once: Memo) -> dict[str, Any]:
    return dict(once(canonical_in, "model", cell.cfg.model))


def _training(cfg: RunConfig, without: Collection[str]) -> dict[str, Any]:
    found = effective(cfg)
    return {name: found[name] for name in found if name.partition(".")[0] in SECTIONS and name not in without}
