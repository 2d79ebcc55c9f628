"""What the server that jobs are forked from imports before the first of them: all that a job needs."""

from cbam_ablate.lazy_compiler import leave_out_compiler

leave_out_compiler()

import cbam_ablate.sweep.local  # noqa: E402, F401
