"""Networks on a CPU: batch norm, CBAM and what follows them in few passes over a map, in C."""
