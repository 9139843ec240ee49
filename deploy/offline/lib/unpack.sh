#!/usr/bin/env bash
# Where the engine's programs come from: the machine's own if they are new enough, else Debian's packages, unpacked
# into the cache folder.
#
# Invariants: unpacking is idempotent, and atomic: a half-unpacked folder never gets the final name.
# Must not: install an engine, or anything of another Debian release, on the machine.
set -euo pipefail

# What goes into the private folder. Engine 25 and Compose v2 are not in Debian 12, so they are Debian 13's (which run
# on 12's libc); runc and tini must come from the machine's own release, because 13's want newer libraries.
NEWER_SUITE=trixie
NEWER_PACKAGES=(docker.io docker-cli containerd docker-compose docker-buildx)
OWN_PACKAGES=(runc tini)
OLDEST_ENGINE=25

unpacked_dir() { printf '%s/engine/%s\n' "$(cache_dir)" "$(os_release VERSION_CODENAME)"; }

# True when this machine's own dockerd, with its Compose and Buildx plugins, is good enough.
machine_has_engine() {
  local version
  have dockerd || return 1
  # Not ours, which is on PATH after `eval "$(engine.sh env NAME)"`.
  [[ $(command -v dockerd) != "$(cache_dir)"/* ]] || return 1
  version=$(dockerd --version | sed -n 's/^Docker version \([0-9]*\)\..*/\1/p')
  [[ ${version:-0} -ge $OLDEST_ENGINE ]] || return 1
  docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1
}

# The folders to put first on PATH; empty when the machine's own programs are used.
engine_path() {
  if ! machine_has_engine; then printf '%s/usr/sbin:%s/usr/bin\n' "$(unpacked_dir)" "$(unpacked_dir)"; fi
}

engine_unpack() {
  local target
  target=$(unpacked_dir)
  if machine_has_engine; then
    say "using this machine's dockerd: $(command -v dockerd)"
    return 0
  fi
  if [[ -d $target ]]; then return 0; fi
  can_unpack
  need_commands ip=iproute2 iptables=iptables
  mkdir -p "${target%/*}"
  step "fetching a Docker engine from Debian's packages (100 MB) and unpacking it into $target" unpack_into "$target"
}

can_unpack() {
  if ! is_root_on_debian; then
    die "no Docker engine answers here, and a private one can only be unpacked by root on Debian 12 or 13" \
      "install Docker Engine $OLDEST_ENGINE or newer with the Compose and Buildx plugins, start it," \
      "see that 'docker info' and 'docker compose version' work for this user, and try again"
  fi
  case $(os_release VERSION_ID) in
    12 | 13) ;;
    *) die "Debian $(os_release VERSION_ID) is not known to run Debian 13's engine" "install Docker Engine yourself" ;;
  esac
}

# $1: the final folder. Everything happens beside it, so that the last step is one rename.
unpack_into() {
  local target=$1 work mirror package
  work=$(mktemp -d "$target.XXXXXX")
  # shellcheck disable=SC2064  # expand now: the variable is gone when the trap runs
  trap "rm -rf '$work'" EXIT
  mirror=$(debian_mirror)
  if [[ -z $mirror ]]; then
    apt-get update -q
    mirror=$(debian_mirror)
  fi
  [[ -n $mirror ]] || die "apt knows no archive of this Debian release" "look at /etc/apt/sources.list*"
  mkdir -p "$work/root" "$work/debs" "$work/lists/partial" "$work/sources"
  chmod -R a+rX "$work" # apt reads as its own user
  printf 'deb %s %s main\n' "$mirror" "$NEWER_SUITE" >"$work/sources/newer.list"
  download_packages "$work"
  for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/root"; done
  mv -T "$work/root" "$target"
}

download_packages() (
  local newer=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$1/sources" -o "Dir::State::Lists=$1/lists"
    -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=")
  cd "$1/debs"
  apt-get "${newer[@]}" -q update
  apt-get "${newer[@]}" -q download "${NEWER_PACKAGES[@]}"
  apt-get -q download "${OWN_PACKAGES[@]}" || { apt-get update -q && apt-get -q download "${OWN_PACKAGES[@]}"; }
)

# The folder for DOCKER_CONFIG of a private engine: plugins linked in, and no credentials of the person's.
engine_config() {
  local config plugins plugin
  config=$(cache_dir)/engine/config
  plugins=$(unpacked_dir)/usr/libexec/docker/cli-plugins
  mkdir -p "$config/cli-plugins"
  for plugin in "$plugins"/*; do
    if [[ -e $plugin ]]; then ln -sfn "$plugin" "$config/cli-plugins/${plugin##*/}"; fi
  done
  printf '%s\n' "$config"
}
