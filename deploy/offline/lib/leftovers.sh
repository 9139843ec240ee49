#!/usr/bin/env bash
# What an engine that was killed leaves behind, and how it is cleared away before the next start.
#
# Invariants: leftovers are found by what only this engine owns: its containerd namespace, folders and address pool.
# Must not: find anything by program name, or by another engine's namespace, folder or pool.
set -euo pipefail

# $1 run folder, $2 data folder, $3 containerd namespace, $4 address pool. Only for an engine that does not run.
clear_leftovers() {
  kill_containers "$1" "$3"
  unmount_below "$1/exec"
  unmount_below "$2/data"
  delete_networks "$4"
  rm -f "$1/dockerd.pid"
}

# Containers outlive a killed engine under their shims. The shim's children go first: the first process of a container
# takes the rest of it along.
kill_containers() {
  local pid child
  for pid in $(pids_with_arguments "$1" "$2"); do
    while read -r child; do kill -KILL "$child" 2>/dev/null || true; done < <(children_of "$pid")
    kill -KILL "$pid" 2>/dev/null || true
    wait_gone "$pid"
  done
}

children_of() { cat "/proc/$1/task"/*/children 2>/dev/null | tr ' ' '\n' | grep . || true; }

# Shims of our namespace, and the containerd of our run folder.
pids_with_arguments() {
  local file arguments
  for file in /proc/[0-9]*/cmdline; do
    arguments=$(tr '\0' ' ' 2>/dev/null <"$file" || true)
    case $arguments in
      *containerd-shim*" -namespace $2 "* | *containerd\ --config\ "$1/exec/"*) basename "$(dirname "$file")" ;;
    esac
  done
}

wait_gone() {
  local tries=0
  while [[ -d /proc/$1 ]] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do
    tries=$((tries + 1))
    if ((tries > 50)); then die "process $1 does not go away"; fi
    sleep 0.1
  done
}

# Deepest first. A mount that is still busy is detached, because what held it was killed above.
unmount_below() {
  local target
  while read -r target; do
    umount "$target" 2>/dev/null || umount --lazy "$target"
  done < <(awk -v folder="$1/" 'index($5, folder) == 1 { print length($5), $5 }' /proc/self/mountinfo |
    sort -rn | cut -d' ' -f2-)
}

# A stale bridge keeps its route and would cut the next engine off. Ours are the ones with an address in our pool, which
# is always a /16.
delete_networks() {
  local prefix=${1%.*.*} link
  ip -o -4 addr show | awk -v prefix="$prefix." 'index($4, prefix) == 1 { print $2 }' | while read -r link; do
    if [[ -d /sys/class/net/$link/bridge ]]; then ip link delete "$link"; fi
  done
}
