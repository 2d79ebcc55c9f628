"""timm is an extra: what needs it says how to get it."""

from importlib import import_module
from types import ModuleType

from cbam_ablate.errors import ConfigError
from cbam_ablate.torchvision_shim import import_torchvision


def import_timm() -> ModuleType:
    """The `timm` package; raises `ConfigError` where it isn't installed."""
    import_torchvision()
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        raise ConfigError("timm isn't installed: pip install 'cbam_ablate[timm]'") from error
