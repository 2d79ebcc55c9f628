#!/usr/bin/env bash
# Debian's Slurm, where this may be installed; where it may not, its tests are skipped with a word.
command -v slurmctld sbatch munged >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
export DEBIAN_FRONTEND=noninteractive
packages="slurm-wlm munge"
apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; } >/dev/null 2>&1 ||
    echo "Slurm could not be installed"
