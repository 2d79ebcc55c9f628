#!/usr/bin/env bash
# packages.sh PROGRAM PACKAGE...: Debian's packages, where the program is missing and they may be installed; where
# they may not, the tests that need it are skipped with a word.
set -uo pipefail
program=$1
shift
command -v "$program" >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -qq -y --no-install-recommends "$@")
"${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}"; } >/dev/null 2>&1 ||
    echo "$program could not be installed"
