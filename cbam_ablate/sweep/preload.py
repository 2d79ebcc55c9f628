"""What the server that jobs are forked from imports before the first of them: all that every job needs."""

import gc
import os

from cbam_ablate.lazy_compiler import leave_out_compiler

# What `timeout` and others signal is the sweep's group: its jobs are told by the sweep.
os.setpgrp()
gc.disable()
leave_out_compiler()

import torch.utils.serialization.config  # noqa: E402, F401

import cbam_ablate.accel.cpu.blocks  # noqa: E402
import cbam_ablate.accel.cuda.steps  # noqa: E402
import cbam_ablate.models.attention  # noqa: E402
import cbam_ablate.models.backbones  # noqa: E402
import cbam_ablate.sweep.local  # noqa: E402, F401

gc.freeze()  # No job looks for cycles among these.
gc.enable()
