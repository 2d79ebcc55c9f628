"""cbam-ablate plan [-m] [name=value ...]

Shows every cell of a sweep with its status, parameters, MACs, estimated time and memory, and starts nothing:
cbam-ablate plan study=placement
cbam-ablate plan -m depth=18,34 placement=none,block seed=0,1,2
cbam-ablate plan placement=block where=true        # the modules it goes to, with their maps
"""

from collections.abc import Sequence

from cbam_ablate.cli import collect_again
from cbam_ablate.cli.flags import read_flags
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.outline import make_outline


def main(arguments: Sequence[str]) -> int:
    flags = read_flags(arguments)
    where = [text.partition("=")[2] for text in flags.texts if text.startswith("where=")]
    if set(where) - {"true", "false"}:
        raise ConfigError(f"where={where[-1]}: true lists where attention goes in each network; or false")
    flags.texts = [text for text in flags.texts if not text.startswith("where=")]
    with flags.looking():
        if flags.show():
            return 0
        asked = make_outline(flags.texts)
    from cbam_ablate.cli.show import show
    from cbam_ablate.sweep.plan import plan_outline

    collect_again()
    plan = plan_outline(asked)
    code = show(plan)
    if where[-1:] == ["true"]:
        from cbam_ablate.cli.where import show_places

        show_places(plan)
    return code
