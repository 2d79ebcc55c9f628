#!/usr/bin/env bash
# The quick tests, those of `make test`, on Hydra 1.4 with OmegaConf 2.4 and the launcher that is out for them, in
# .venv-hydra14, which shares everything else with .venv.
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
exec "$own/bin/python" -m pytest -n "${JOBS:-2}" --dist worksteal "$@"
