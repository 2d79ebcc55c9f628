"""How a run's steps are done fast: of a compiled network where that pays, recorded where they can be."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cbam_ablate.accel.cuda.compiled import compiled_or_eager, pays, shelve, shelved
from cbam_ablate.accel.cuda.recorded import Kinds, Step, recorded
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.registry import Optimizer, own_target
from cbam_ablate.training.evaluate import autocast


class FastSteps:
    """`training.steps.Steps` of a run as its `train.compile` says; `say` takes lines about how they are done.

    `precision` is bf16 or fp32. On a CPU nothing is recorded, and compiled only where it is asked for.
    """

    def __init__(
        self,
        cfg: RunConfig,
        model: nn.Module,
        device: torch.device,
        precision: str,
        say: Callable[[str], None],
    ) -> None:
        self.cfg, self.device, self.precision, self.say = cfg, device, precision, say
        self.model = self.network = model
        if cfg.train.compile in ("on", "auto"):
            self._take_over_or_compile()
        self._record_anew()
        self._undecided = cfg.train.compile == "auto" and self.network is self.model

    def __call__(
        self, step: Step, changed: Callable[[], Kinds], images: Tensor, labels: Tensor, rates: Sequence[float]
    ) -> Tensor:
        return self.recorded(step, changed, images, labels, rates)

    def epoch_done(self, seconds_to_go: float) -> None:
        """With `train.compile=auto`: compiles after the first epoch, where the time to go makes it pay."""
        if self._undecided and pays(self.device, seconds_to_go):
            self._record_anew()  # and so lets the memory of the recording go
            self._compile()
        self._undecided = False

    def close(self) -> None:
        """Leaves a compiled network to the next run of this process."""
        if self.network is not self.model:
            shelve(self.network, self.cfg, self.device, self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def _take_over_or_compile(self) -> None:
        network = shelved(self.model, self.cfg, self.device, self._dtype)
        if network is not None:
            self.network, self.model = network, network._orig_mod  # type: ignore[assignment]
            self.say("takes over the graph that an earlier run of this process compiled")
        elif self.cfg.train.compile == "on":
            self._compile()

    def _compile(self) -> None:
        cast = autocast(self.device, self.precision)
        self.network = compiled_or_eager(self.model, self.cfg, self.device, cast, self._dtype, self.say)

    def _record_anew(self) -> None:
        # An optimiser of one's own may count its steps in Python, which a recorded step wouldn't.
        own = own_target(Optimizer, self.cfg.optimizer.name)
        self.recorded = recorded("off" if own else self.cfg.train.compile, self.device, self.say)
