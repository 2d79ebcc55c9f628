from cbam_ablate.config.compose import load_config
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.schema import RunConfig

__all__ = ["ConfigError", "RunConfig", "load_config"]
