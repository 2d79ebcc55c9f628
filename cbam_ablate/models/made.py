"""Building what others wrote: also on the meta device, and with their own line where it fails."""

from collections.abc import Callable

import torch
from torch import nn

from cbam_ablate.errors import UserError
from cbam_ablate.own import failure


def made(make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` gives, on the device that is the default."""
    try:
        return make()
    except (NotImplementedError, RuntimeError):
        device = torch.get_default_device()
        if device.type != "meta":
            raise
        # Some constructors compute with tensors, which the meta device can't.
        with torch.device("cpu"):
            return make().to(device)


def own_made(named: str, make: Callable[[], nn.Module]) -> nn.Module:
    """The same of one's own code. Raises `ConfigError`, for `named`, with the user's own file and line."""
    try:
        module = made(make)
    except UserError:
        raise
    except Exception as error:  # it is anybody's code
        raise failure(named, error) from error
    if not isinstance(module, nn.Module):
        raise failure(named, TypeError(f"gives no torch.nn.Module but {type(module).__name__}"))
    return module
