#!/usr/bin/env bash
# pytest-xdist 3.8.0 beside pytest 9.2.0: `--dist loadgroup` sends the tests of one xdist_group to several workers,
# without a word. xdist marks a group by writing to a test's private `_nodeid`, which this pytest no longer reads.
# Two fixtures of session scope that hold one port or one daemon, kept apart by a group, then meet.
# Guessed before the run: one worker gets all eight tests of the group, with both releases of pytest.
# Seen: one worker with pytest 9.1.0, more than one with 9.2.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_group.py" <<'P'
import os
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_one(number):
    time.sleep(0.2)
    with open("workers", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
P
cd "$folder"
for pytest in 9.1.0 9.2.0; do
    python3 -m venv "env-$pytest"
    "env-$pytest/bin/pip" install --quiet "pytest==$pytest" pytest-xdist==3.8.0
    rm -f workers
    "env-$pytest/bin/python" -m pytest -q -n 3 --dist loadgroup -p no:cacheprovider test_group.py >/dev/null
    echo "pytest $pytest, pytest-xdist 3.8.0: workers of the group: $(sort -u workers | wc -l)"
    sort -u workers | wc -l >"seen-$pytest"
done
[ "$(cat seen-9.1.0)" = 1 ] && [ "$(cat seen-9.2.0)" -gt 1 ]
