from cbam_ablate.runs.store import Run, RunStore, State

__all__ = ["Run", "RunStore", "State"]
