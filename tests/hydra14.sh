#!/usr/bin/env bash
# The tests of what touches Hydra with its next version and the launchers of it, in .venv-hydra14, which shares
# everything else with .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
own=.venv-hydra14
[ -x "$own/bin/python" ] || .venv/bin/python -m venv --without-pip "$own"
site=$("$own/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
shared=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('$shared')" > "$site/shared.pth"
if ! [ -d "$site/hydra_core-1.4.0rc3.dist-info" ]; then
  ${PIP:-.venv/bin/python -m pip} install --quiet --no-deps --target "$site" \
    hydra-core==1.4.0rc3 omegaconf==2.4.1rc1 hydra-joblib-launcher==1.4.0rc3
fi
"$own/bin/python" -c 'import hydra; assert hydra.__version__.startswith("1.4"), hydra.__version__'
exec "$own/bin/python" -m pytest -n "${JOBS:-2}" --dist worksteal \
  tests/config tests/sweep/test_sweep_composed.py tests/sweep/test_sweep_declare.py tests/sweep/test_sweep_grids.py \
  tests/sweep/test_sweep_studies.py tests/sweep/test_sweep_two_hydras.py tests/cli/test_cli_bad_input.py \
  tests/cli/test_cli_completion.py tests/cli/test_cli_help.py tests/cli/test_cli_hydra.py \
  tests/sources/test_sources_folders.py "$@"
