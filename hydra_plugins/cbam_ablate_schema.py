"""Hydra imports this as it starts: a program that has imported cbam_ablate composes with its schema."""

import sys

if "cbam_ablate" in sys.modules:
    import cbam_ablate.config.compose  # noqa: F401 - it registers the schema
