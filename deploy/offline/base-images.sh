#!/usr/bin/env bash
# Finds or makes the base image of the builds, on the engine that DOCKER_HOST names.
#
#   base-images.sh python     print the tag for --build-arg BASE_IMAGE: the official Python image if the engine has it or
#                             can pull it, else a stand-in made of Debian's packages
#   base-images.sh busybox    a tiny image for tests; prints its tag
#   base-images.sh remove     remove the stand-ins from this engine and from the cache
#
# Invariants: stdout is one tag. A machine makes a stand-in once, because no registry answered; from then on it does not
# ask the registry again, which would cost up to 15 s each time, until `remove`.
# Must not: give a stand-in an official name; other projects on this machine would use it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/common.sh
. "$here/../lib/common.sh"

OFFICIAL=${HUBWARDEN_BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' "$here/../../Dockerfile.agent")}
STANDIN=hubwarden-standin/python:3.13-trixie
BUSYBOX=hubwarden-standin/busybox:test
PULL_TIMEOUT=${HUBWARDEN_PULL_TIMEOUT:-120}
# Counted up when a recipe below changes, so that an old tarball is not taken for the new one.
RECIPE=1
CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt

image_exists() { docker image inspect "$1" >/dev/null 2>&1; }
tarball() { printf '%s/images/%s-%s.tar\n' "$(cache_dir)" "$1" "$RECIPE"; }

python_base() {
  if image_exists "$OFFICIAL" || { ! have_standin && pull_official; }; then
    printf '%s\n' "$OFFICIAL"
    return 0
  fi
  if ! image_exists "$STANDIN"; then
    if [[ ! -f $(tarball python) ]]; then make_python_tarball; fi
    step "importing the stand-in base image" docker import \
      --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
      --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' "$(tarball python)" "$STANDIN"
  fi
  printf '%s\n' "$STANDIN"
}

have_standin() { image_exists "$STANDIN" || [[ -f $(tarball python) ]]; }

# The manifest first: a registry that does not answer costs 15 s and not the time of a pull.
pull_official() {
  if ! timeout 15 docker manifest inspect "$OFFICIAL" >/dev/null 2>&1; then
    say "no registry offers $OFFICIAL: a stand-in is made of Debian's packages"
    return 1
  fi
  say "pulling $OFFICIAL"
  timeout "$PULL_TIMEOUT" docker pull "$OFFICIAL" >&2
}

make_python_tarball() {
  if ! is_root_on_debian; then
    die "the base image $OFFICIAL is neither here nor in reach, and a stand-in needs root on Debian" \
      "load the image from a machine that has it (docker save, docker load) and try again"
  fi
  need_commands debootstrap=debootstrap
  step "making a stand-in for $OFFICIAL with debootstrap (1 to 2 minutes)" bootstrap_python
}

bootstrap_python() {
  local work
  mkdir -p "$(cache_dir)/images"
  work=$(mktemp -d "$(cache_dir)/images/python.XXXXXX")
  # shellcheck disable=SC2064  # expand now: the variable is gone when the trap runs
  trap "rm -rf '$work'" EXIT
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie "$work/root" "$(debian_mirror)"
  rm -rf "$work/root/var/cache/apt/archives"/*.deb "$work/root/var/lib/apt/lists"/* "$work/root/var/log"/*.log
  # This machine's idea of whom to trust, because downloads in a build take the same way out as this machine's own.
  if [[ -f $CA_BUNDLE ]]; then
    cp --remove-destination "$CA_BUNDLE" "$work/root$CA_BUNDLE"
    printf '[global]\ncert = %s\n' "$CA_BUNDLE" >"$work/root/etc/pip.conf"
  fi
  tar -C "$work/root" --numeric-owner -cf "$work/python.tar" .
  mv "$work/python.tar" "$(tarball python)"
}

busybox_image() {
  if ! image_exists "$BUSYBOX"; then
    if [[ ! -f $(tarball busybox) ]]; then
      is_root_on_debian || have busybox || die "the test image needs a static busybox" "install busybox-static"
      step "making $BUSYBOX from Debian's busybox-static" make_busybox_tarball
    fi
    step "importing $BUSYBOX" docker import --change 'ENV PATH=/bin' --change 'CMD ["sh"]' \
      "$(tarball busybox)" "$BUSYBOX"
  fi
  printf '%s\n' "$BUSYBOX"
}

make_busybox_tarball() {
  local work applet applets
  mkdir -p "$(cache_dir)/images"
  work=$(mktemp -d "$(cache_dir)/images/busybox.XXXXXX")
  # shellcheck disable=SC2064  # expand now: the variable is gone when the trap runs
  trap "rm -rf '$work'" EXIT
  # Downloaded and unpacked, not installed: on Debian the package replaces busybox, which an initramfs may use.
  cd "$work" # in the job that `step` made, so nobody else is moved
  apt-get -q download busybox-static || { apt-get -q update && apt-get -q download busybox-static; }
  dpkg -x "$work"/busybox-static_*.deb "$work/deb"
  mkdir -p "$work/root"/{bin,etc,tmp,root,home}
  chmod 1777 "$work/root/tmp"
  install -m 0755 "$(find "$work/deb" -path '*/bin/busybox' -type f)" "$work/root/bin/busybox"
  printf 'root:x:0:0:root:/root:/bin/sh\njovyan:x:1000:1000::/home:/bin/sh\n' >"$work/root/etc/passwd"
  printf 'root:x:0:\njovyan:x:1000:\n' >"$work/root/etc/group"
  applets=$("$work/root/bin/busybox" --list)
  for applet in $applets; do
    if [[ $applet != busybox ]]; then ln -s busybox "$work/root/bin/$applet"; fi
  done
  tar -C "$work/root" --numeric-owner --owner=0 --group=0 -cf "$work/busybox.tar" .
  mv "$work/busybox.tar" "$(tarball busybox)"
}

remove_standins() {
  local image
  for image in "$STANDIN" "$BUSYBOX"; do
    if image_exists "$image"; then docker image rm "$image" >/dev/null && say "removed $image"; fi
  done
  rm -f "$(tarball python)" "$(tarball busybox)"
}

case ${1:-} in
  python) python_base ;;
  busybox) busybox_image ;;
  remove) remove_standins ;;
  *)
    sed -n '4,7s/^# \{0,1\}//p' "$here/base-images.sh" >&2
    exit 2
    ;;
esac
