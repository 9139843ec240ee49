#!/usr/bin/env bash
# What every script under deploy/ shares: words to the person, the cache folder, and Debian.
#
# Invariants: stdout holds only the caller's answer (a path, a tag, export lines); messages to a person go to stderr.
# Must not: install anything except as root on Debian, and not without a message first.
set -euo pipefail

say() { printf '==> %s\n' "$*" >&2; }
warn() { printf '!!! %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($#)); then printf '       %s\n' "$@" >&2; fi
  exit 1
}

# $1: a name for the person; the rest: a command, quiet unless it fails, with a sign of life every 15 s.
# It runs as a job, because a function that is called in an `if` runs on after an error in it.
step() {
  local what=$1 started=$SECONDS job log tick=0
  shift
  log=$(mktemp)
  say "$what"
  "$@" >"$log" 2>&1 &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2
    tick=$((tick + 1))
    if ((tick % 75 == 0)); then say "  still at it after $((SECONDS - started)) s: $(tail -n 1 "$log" | cut -c -100)"; fi
  done
  if ! wait "$job"; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    die "failed: $what"
  fi
  rm -f "$log"
  if ((SECONDS - started > 1)); then say "  done in $((SECONDS - started)) s"; fi
}

# Everything that is expensive to make and cheap to keep lives here, outside the repository and shared by clones.
cache_dir() {
  printf '%s\n' "${HUBWARDEN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/hubwarden}"
}

have() { command -v "$1" >/dev/null 2>&1; }

# One field of /etc/os-release; empty when there is none.
os_release() {
  if [[ -r /etc/os-release ]]; then (
    # shellcheck disable=SC1091  # the machine's own file, read in a subshell so that its names do not leak
    . /etc/os-release
    printf '%s\n' "${!1:-}"
  ); fi
}

is_root_on_debian() { [[ $EUID -eq 0 && $(os_release ID) == debian ]]; }

# The main archive that this machine's apt already uses, so that a mirror inside a company is respected and no
# address needs to be written down here. Empty when apt has none.
debian_mirror() {
  apt-get indextargets --format "\$(REPO_URI)|\$(CODENAME)|\$(COMPONENT)" 'Identifier: Packages' |
    awk -F'|' -v suite="$(os_release VERSION_CODENAME)" '$2 == suite && $3 == "main" { print $1; exit }'
}

# Installs the packages whose command is missing. Arguments: command=package ...
need_commands() {
  local pair missing=() packages=()
  for pair in "$@"; do
    if ! have "${pair%%=*}"; then
      missing+=("${pair%%=*}")
      packages+=("${pair#*=}")
    fi
  done
  if ((${#missing[@]} == 0)); then return 0; fi
  if ! is_root_on_debian; then
    die "missing: ${missing[*]}" "get them from your system's packages (on Debian, as root: apt-get install ${packages[*]})"
  fi
  say "installing Debian packages on this machine: ${packages[*]}"
  if ! apt_install "${packages[@]}"; then
    step "refreshing the list of Debian packages" apt-get update -q
    step "installing ${packages[*]}" apt_install "${packages[@]}"
  fi
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null; }
