from cbam_ablate.config.compose import load_config
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError

__all__ = ["ConfigError", "RunConfig", "load_config"]
