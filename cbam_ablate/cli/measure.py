"""cbam-ablate measure study=NAME|run=KEY [batch=128] [rounds=50] [compile=true] [name=value ...]

How fast networks answer in evaluation, after a warm-up: latency of one image and images a second in batches
of `batch`, each as median and quartiles over calls, and the memory of weights and at the peak. The networks
of a study take turns, in a new order each round, so that what drifts hits all alike. `compile=true` measures
them compiled too. Kept in metrics/inference.json of each run, by device, and shown by a table's columns
latency_ms, infer_images_per_second and infer_memory_mib (table.costs=[params,macs,latency_ms]).
Also taken: store=, train.device=, train.precision=, train.threads=.
"""

from typing import Any

from cbam_ablate.aggregate.records import load_study
from cbam_ablate.cli import fail
from cbam_ablate.cli.arguments import apply, read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.config.canonical import from_dict, network_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import Run, RunStore

TAKEN = ("train.device", "train.precision", "train.threads")
COMPILE = {"true": True, "false": False}


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study", "run", "batch", "rounds", "compile"), TAKEN)
    batch, rounds = (
        _count(name, values.pop(name, text)) for name, text in (("batch", "128"), ("rounds", "50"))
    )
    compiled = values.pop("compile", "false").lower()
    if compiled not in COMPILE:
        raise ConfigError(f"compile={compiled}: not one of true, false")
    wanted = values.pop("run", None)
    if (wanted is None) == ("study" not in values):
        raise ConfigError("measure: one of study=NAME and run=KEY")
    runs = [RunStore(values.pop("store")).find(wanted)] if wanted is not None else _runs_of(values)
    alike = _by_network(runs, values)
    if not alike:
        return fail("none of these runs has a config.json: there is no network to measure")

    from cbam_ablate.sweep.measured import measure_all

    for line in measure_all(list(alike.values()), batch, rounds, COMPILE[compiled]):
        print(line, flush=True)
    return 0


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{name}={text}: must be a whole number, at least 1")
    return int(text)


def _runs_of(values: dict[str, Any]) -> list[Run]:
    store, study = take_study(values)
    return [store.run(key) for key in load_study(store.root, study).records]


def _by_network(runs: list[Run], values: dict[str, Any]) -> dict[str, tuple[RunConfig, list[Run]]]:
    """Runs of the same network, which is measured once for all of them."""
    found: dict[str, tuple[RunConfig, list[Run]]] = {}
    for run in runs:
        config = run.config()
        if config is not None:
            cfg = apply(from_dict(config), values)
            found.setdefault(network_of(cfg), (cfg, []))[1].append(run)
    return found
