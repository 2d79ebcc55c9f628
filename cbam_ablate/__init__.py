"""From one command line to an ablation table you can believe."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbam_ablate.config import load_config
    from cbam_ablate.models import build_model, model_cost

__version__ = "0.2.0"

__all__ = ["build_model", "load_config", "model_cost"]


def __getattr__(name: str) -> Any:
    # `table` and `--help` must not pay for importing torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'config' if name == 'load_config' else 'models'}"), name)
