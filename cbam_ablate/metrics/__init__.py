"""Functions of labels and predictions, their definitions, and the predictions that runs keep."""

from cbam_ablate.metrics.definitions import DEFINITIONS, compute
from cbam_ablate.metrics.sample import Sample, Value

__all__ = ["DEFINITIONS", "Sample", "Value", "compute"]
