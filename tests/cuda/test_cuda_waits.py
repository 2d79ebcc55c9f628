"""Inside an epoch nothing waits for the device: neither a result of its, nor a copy to or from the host."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cbam_ablate.accel.fused.trainer import FusedTrainer, Lane
from cbam_ablate.data.together import train_together
from cbam_ablate.training import Trainer

pytestmark = pytest.mark.cuda
READS = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "equal"}
COPIES = {"_to_copy", "copy_"}
KINDS = [
    ["placement=both", "optimizer.clip_norm=1"],
    ["augment=mixup", "train.ema=0.9"],
    ["augment=cutmix", "optimizer=adamw", "train.label_smoothing=0.1"],
    ["augment=erasing"],
    ["augment=rotate_shift"],
    ["train.compile=auto"],
    ["attention=bam", "placement=stage"],
]


class Waits(TorchDispatchMode):
    """Counts the operators that would make the host wait."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        tensors = [each for each in tree_leaves((args, kwargs, out)) if isinstance(each, torch.Tensor)]
        devices = {each.device.type for each in tensors}
        if (name in COPIES and len(devices) > 1) or (name in READS and "cuda" in devices):
            self.found[name] += 1
        return out


def waits(trainer, words, kind, steps):
    """In the second epoch, since in the first there is more to set up, and a step to record."""
    words = ["train.compile=off", *words, f"data.train_size={10 * steps}"]
    runs = [trainer([*words, f"seed={seed}"], kind) for seed in (0, 1)]
    if kind is Trainer:
        run, epoch = runs[:1], runs[0]._train_epoch
    else:
        run, epoch = runs, FusedTrainer(runs, lambda lane, end: None, batches=train_together).train_epoch
    epoch()
    for each in run:
        each.done.epoch, each.done.step = 1, 0
    with Waits() as found:
        epoch()
    return found.found


@pytest.mark.parametrize("kind", [Trainer, Lane])
@pytest.mark.parametrize("options", KINDS)
def test_an_epoch_waits_as_often_however_many_steps_it_has(words, trainer, kind, options):
    few, many = (waits(trainer, [*words, *options], kind, steps) for steps in (3, 5))
    assert few == many
    assert few
