from cbam_ablate.training.loop import Diverged, Interrupted, Result, Trainer

__all__ = ["Diverged", "Interrupted", "Result", "Trainer"]
