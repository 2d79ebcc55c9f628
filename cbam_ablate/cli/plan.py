"""cbam-ablate plan [-m] [name=value ...]

Shows every cell of a sweep with its status, parameters, MACs, estimated time and memory, and starts nothing:
cbam-ablate plan study=placement
cbam-ablate plan -m depth=18,34 placement=none,block seed=0,1,2
cbam-ablate plan placement=block where=true        # the modules it goes to, with their maps
"""

from collections.abc import Sequence

from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.outline import make_outline


def main(arguments: Sequence[str]) -> int:
    unknown = [text for text in arguments if text.startswith("-") and text not in ("-m", "--multirun")]
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such flag; there are -m and --help")
    texts = [text for text in arguments if not text.startswith("-")]
    where = [text.partition("=")[2] for text in texts if text.startswith("where=")]
    if set(where) - {"true", "false"}:
        raise ConfigError(f"where={where[-1]}: true lists where attention goes in each network; or false")
    asked = make_outline([text for text in texts if not text.startswith("where=")])
    from cbam_ablate.cli.show import show
    from cbam_ablate.sweep.plan import plan_outline

    plan = plan_outline(asked)
    code = show(plan)
    if where[-1:] == ["true"]:
        from cbam_ablate.cli.where import show_places

        show_places(plan)
    return code
