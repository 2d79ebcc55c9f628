from cbam_ablate.errors import ConfigError, DataError, ServiceError, StoreError, UserError

__all__ = ["ConfigError", "DataError", "ServiceError", "StoreError", "UserError"]
