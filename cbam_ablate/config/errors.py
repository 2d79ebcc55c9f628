class ConfigError(ValueError):
    """What the user asked for can't be done; the message names the value, the rule and the alternatives."""
