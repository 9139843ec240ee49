#!/usr/bin/env bash
# A private Docker engine for a machine that has none, or for tests that must not touch the machine's own.
#
#   engine.sh unpack        get the programs (nothing is installed over this machine's)
#   engine.sh start NAME    start the engine NAME and wait until it answers
#   engine.sh stop NAME     stop it, and take its networks down
#   engine.sh empty NAME    remove every container and volume on a tests' engine, and nothing else
#   engine.sh socket NAME   print the path of its socket
#   engine.sh env NAME      print export lines: eval "$(deploy/offline/engine.sh env test)"
#
# NAME: demo, test, or test-1 to test-9; each test also with -hub4, -hub5 or -hub6 at its end.
#
# Invariants: an engine has its own bridge, subnet, address pool, data, containerd namespace, pid file and socket, and
# leaves iptables and sysctls alone; starting and stopping can be repeated, also after a kill -9.
# Must not: touch another engine's processes, mounts or networks.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=lib/unpack.sh
. "$here/lib/unpack.sh"
# shellcheck source=lib/leftovers.sh
. "$here/lib/leftovers.sh"

# A group that nobody is in owns the socket (Debian reserves this number): root's own group would be a worse default.
SOCKET_GROUP=65375
START_TIMEOUT=120
STOP_TIMEOUT=90

usage() {
  sed -n '4,9s/^# \{0,1\}//p' "$here/engine.sh" >&2
  exit 2
}

# Sets what belongs to the engine $1. Sockets have a limit of about 100 characters, hence /run and not the cache.
select_engine() {
  name=${1:-}
  case $name in
    demo) bridge=hwdemo0 address=10.211.0.1/24 pool=10.212.0.0/16 ;;
    test) bridge=hwtest0 address=10.213.0.1/24 pool=10.214.0.0/16 ;;
    # More of the same, for suites that run beside each other.
    test-[1-9]) bridge=hwtest${name#test-} address=10.213.${name#test-}.1/24 pool=10.22${name#test-}.0.0/16 ;;
    # Beside any of these, one more for each JupyterHub. 10.213.40-69.x, 10.230-249.x and 10.160-169.x.
    test-hub[456]) select_hub_engine 0 "${name#test-hub}" ;;
    test-[1-9]-hub[456]) select_hub_engine "${name:5:1}" "${name:10}" ;;
    *) usage ;;
  esac
  run=/run/hubwarden-$name
  socket=$run/docker.sock
  pidfile=$run/dockerd.pid
  namespace=hubwarden-$name
  data=$(cache_dir)/$name
}

# $1: number of the engine beside which it is, $2: major version of JupyterHub.
select_hub_engine() {
  bridge=hwtest$1h$2 address=10.213.$2$1.1/24
  case $2 in
    6) pool=10.16$1.0.0/16 ;;
    *) pool=10.2$(($2 - 1))$1.0.0/16 ;;
  esac
}

docker_here() { PATH=$(engine_path):$PATH DOCKER_CONFIG=$(engine_config) docker -H "unix://$socket" "$@"; }
answers() { docker_here info >/dev/null 2>&1; }

# The pid in our pid file, but only if that process really is this engine: pids are used again.
engine_pid() {
  local pid
  [[ -r $pidfile ]] || return 1
  pid=$(<"$pidfile")
  [[ $pid =~ ^[0-9]+$ && -r /proc/$pid/cmdline ]] || return 1
  tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "--pidfile=$pidfile" || return 1
  printf '%s\n' "$pid"
}

one_at_a_time() {
  exec 9>"/run/hubwarden-$name.lock"
  flock -w "$((START_TIMEOUT + STOP_TIMEOUT))" 9 || die "another engine.sh has been at work on '$name' for too long"
}

engine_start() {
  engine_unpack
  [[ $EUID -eq 0 ]] || die "a private engine can only be started by root"
  need_commands ip=iproute2 iptables=iptables
  one_at_a_time
  if engine_pid >/dev/null; then
    wait_until_up "$(engine_pid)"
    say "engine '$name' runs already: $socket"
    return 0
  fi
  clear_leftovers "$run" "$data" "$namespace" "$pool"
  make_bridge
  launch
  wait_until_up "$launched"
  say "engine '$name' is up: $socket (log: $data/dockerd.log)"
}

make_bridge() {
  if ! ip link show "$bridge" >/dev/null 2>&1; then ip link add "$bridge" type bridge; fi
  ip addr replace "$address" dev "$bridge"
  ip link set "$bridge" up
}

# Its own session and no inherited descriptors, so that the engine outlives the shell that started it.
launch() {
  local extra
  mkdir -p "$run" "$data"
  chmod 0711 "$run"
  rm -f "$pidfile"
  printf '{}\n' >"$run/daemon.json" # instead of the machine's own engine's configuration
  extra=$(engine_path)
  printf '\n--- %s: starting\n' "$(date -u +%FT%TZ)" >>"$data/dockerd.log"
  PATH=${extra:+$extra:}$PATH setsid dockerd \
    "--pidfile=$pidfile" --host "unix://$socket" --group "$SOCKET_GROUP" \
    --data-root "$data/data" --exec-root "$run/exec" --config-file "$run/daemon.json" \
    --containerd-namespace "$namespace" --containerd-plugins-namespace "$namespace-plugins" \
    --bridge "$bridge" --default-address-pool "base=$pool,size=24" \
    --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    </dev/null >>"$data/dockerd.log" 2>&1 9>&- &
  launched=$!
}

# Waits for the answer, not for time; gives up early when the process $1 is gone.
wait_until_up() {
  local started=$SECONDS
  until answers; do
    [[ -d /proc/$1 ]] || engine_failed "it exited"
    ((SECONDS - started < START_TIMEOUT)) || engine_failed "no answer in $START_TIMEOUT s"
    sleep 0.2
  done
}

engine_failed() {
  tail -n 15 "$data/dockerd.log" >&2
  die "engine '$name': $1" "its log: $data/dockerd.log"
}

engine_stop() {
  local pid started=$SECONDS
  [[ $EUID -eq 0 ]] || die "a private engine can only be stopped by root"
  one_at_a_time
  if pid=$(engine_pid); then
    say "stopping engine '$name' (pid $pid)"
    kill -TERM "$pid"
    while [[ -d /proc/$pid ]]; do
      if ((SECONDS - started > STOP_TIMEOUT)); then
        warn "engine '$name' did not stop in $STOP_TIMEOUT s: killing it"
        kill -KILL "$pid"
      fi
      sleep 0.2
    done
  fi
  clear_leftovers "$run" "$data" "$namespace" "$pool"
  if ip link show "$bridge" >/dev/null 2>&1; then ip link delete "$bridge"; fi
  rm -f "$socket"
}

# For the tests' engine alone: nothing on it outlives a run, and what a killed run left would be in the next one's way.
engine_empty() {
  local containers volumes
  [[ $name == test* ]] || die "only a tests' engine may be emptied"
  containers=$(docker_here ps --all --quiet)
  # Word splitting is what is wanted: ids and volume names hold no spaces.
  # shellcheck disable=SC2086
  if [[ -n $containers ]]; then docker_here rm --force --volumes $containers >/dev/null; fi
  volumes=$(docker_here volume ls --quiet)
  # shellcheck disable=SC2086
  if [[ -n $volumes ]]; then docker_here volume rm $volumes >/dev/null; fi
  docker_here network prune --force >/dev/null
}

engine_socket() { printf '%s\n' "$socket"; }

engine_env() {
  local extra
  extra=$(engine_path)
  if [[ -n $extra ]]; then
    # shellcheck disable=SC2016  # the reader's PATH, not ours
    printf 'export PATH=%q:"$PATH"\n' "$extra"
    printf 'export DOCKER_CONFIG=%q\n' "$(engine_config)"
  fi
  printf 'export DOCKER_HOST=unix://%s\n' "$socket"
}

command=${1:-}
case $command in
  unpack) engine_unpack ;;
  start | stop | empty | socket | env)
    select_engine "${2:-}"
    "engine_$command"
    ;;
  *) usage ;;
esac
