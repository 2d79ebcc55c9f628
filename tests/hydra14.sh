#!/usr/bin/env bash
# Hydra 1.4 with OmegaConf 2.4 and the launchers that are out for them, in .venv-hydra14, which shares everything
# else with .venv.
#
#   hydra14.sh [ARGUMENTS]   runs there the quick tests and the slow ones about Hydra, or what pytest's arguments say
#   hydra14.sh make          makes it and no more
set -euo pipefail
cd "$(dirname "$0")/.."
own=.venv-hydra14
[ -x "$own/bin/python" ] || .venv/bin/python -m venv --without-pip "$own"
site=$("$own/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
shared=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
[ -s "$site/shared.pth" ] || echo "import site; site.addsitedir('$shared')" > "$site/shared.pth"
if ! [ -d "$site/hydra_ray_launcher-1.4.0rc3.dist-info" ]; then
  ${PIP:-.venv/bin/python -m pip} install --quiet --no-deps --upgrade --target "$site" \
    hydra-core==1.4.0rc3 omegaconf==2.4.1rc1 hydra-{joblib,submitit,ray}-launcher==1.4.0rc3
fi
"$own/bin/python" -c 'import hydra; assert hydra.__version__.startswith("1.4"), hydra.__version__'
[ "${1:-}" = make ] && exit
[ $# -gt 0 ] || set -- -m '(not slow or hydra) and not engines and not cuda'
exec "$own/bin/python" -m pytest -n "${JOBS:-2}" --dist worksteal "$@"
