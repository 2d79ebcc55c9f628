"""From one command line to an ablation table you can believe."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from cbam_ablate.lazy import names_of

if TYPE_CHECKING:
    from cbam_ablate.config import load_config
    from cbam_ablate.models import build_model, model_cost
    from cbam_ablate.notebook import load_table, run_study, tabulate

__version__ = "0.2.0"

__all__ = ["build_model", "load_config", "load_table", "model_cost", "run_study", "tabulate"]

# `table` and `--help` must not pay for importing torch.
__getattr__ = names_of(
    __name__,
    {
        "config": ["load_config"],
        "models": ["build_model", "model_cost"],
        "notebook": ["load_table", "run_study", "tabulate"],
    },
)

if "hydra.core.plugins" in sys.modules:
    # Of a Hydra that starts later, `hydra_plugins/cbam_ablate_schema.py` is told.
    import_module("cbam_ablate.config.compose")
