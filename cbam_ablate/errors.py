"""What goes wrong for a user, by whose turn it is; the command line prints the message alone."""


class UserError(Exception):
    """What was asked can't be done; the message names the value, the rule and the alternatives."""


class ConfigError(UserError, ValueError):
    """An option, a group, a study or an argument that breaks a rule."""


class DataError(UserError):
    """Images or labels that are missing, damaged or not what they should be."""


class StoreError(UserError):
    """A run, a checkpoint, a manifest or a table that is missing, damaged or not what it should be."""


class ServiceError(UserError):
    """Something outside that doesn't answer or refuses: Slurm, Ray, W&B, a download."""
