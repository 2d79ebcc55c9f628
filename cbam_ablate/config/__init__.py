from typing import TYPE_CHECKING

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.lazy import names_of

if TYPE_CHECKING:
    from cbam_ablate.config.compose import load_config

__all__ = ["ConfigError", "RunConfig", "load_config"]

# Whoever reads what has been trained composes nothing, and needn't import Hydra.
__getattr__ = names_of(__name__, {"compose": ["load_config"]})
