"""cbam-ablate plan [-m] [name=value ...]

Shows every cell of a sweep with its status, parameters, MACs, estimated time and memory, and starts nothing:
cbam-ablate plan study=placement
cbam-ablate plan -m depth=18,34 placement=none,block seed=0,1,2
"""

from cbam_ablate.config import ConfigError
from cbam_ablate.sweep.outline import make_outline


def main(words: list[str]) -> int:
    unknown = [word for word in words if word.startswith("-") and word not in ("-m", "--multirun")]
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such flag; there are -m and --help")
    asked = make_outline([word for word in words if not word.startswith("-")])
    from cbam_ablate.cli.show import show
    from cbam_ablate.sweep.plan import plan_outline

    return show(plan_outline(asked))
