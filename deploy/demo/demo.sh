#!/usr/bin/env bash
# The whole of Hubwarden on one machine, to try it.
#
#   demo.sh up      build, start, wait for the Hub, print where it is and how to log in
#   demo.sh build   build the three images only
#   demo.sh down    remove what `up` and this demo's users made, and nothing else
#
# By environment: HUB_PORT (8000), COMPOSE_PROJECT_NAME (hubwarden-demo), HUBWARDEN_ENGINE (demo or test: a private
# engine; machine: this machine's; empty: whichever answers), HUBWARDEN_CACHE (programs, base images, the password).
#
# Invariants: `up` can be repeated and starts only what is missing; `down` removes by proof of ownership.
# Must not: touch containers, volumes or networks that are not its own; listen beyond loopback.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
offline=$root/deploy/offline
# shellcheck source=../lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=stack.sh
. "$here/stack.sh"

export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-hubwarden-demo}
export HUB_PORT=${HUB_PORT:-8000}
export HUBWARDEN_NETWORK=${HUBWARDEN_NETWORK:-hubwarden-demo}
export HUBWARDEN_AGENT_TOML=${HUBWARDEN_AGENT_TOML:-$here/agent.toml}
export HUBWARDEN_AGENT_IMAGE=${HUBWARDEN_AGENT_IMAGE:-hubwarden/agent:latest}
export HUBWARDEN_HUB_IMAGE=${HUBWARDEN_HUB_IMAGE:-hubwarden-demo/hub:latest}
export HUBWARDEN_USER_IMAGE=${HUBWARDEN_USER_IMAGE:-hubwarden-demo/user:latest}
HUB_TIMEOUT=180

# A private engine builds on the machine's network, because its own networks have no way out.
compose() {
  local files=(--file "$root/compose.yml" --file "$here/compose.yml")
  if [[ $ENGINE != machine ]]; then files+=(--file "$offline/compose.yml"); fi
  docker compose --project-directory "$root" "${files[@]}" "$@"
}

up() {
  read_state
  choose_engine
  connect_engine
  refuse_foreign
  find_base_image
  find_socket
  PASSWORD=${HUBWARDEN_DEMO_PASSWORD:-${PASSWORD:-$(new_password)}}
  export HUBWARDEN_DEMO_PASSWORD=$PASSWORD
  write_state
  build_images
  step "starting agent and Hub" compose up --detach --no-build --remove-orphans
  wait_for_hub
  print_login
}

# Made once and kept in the notes: 96 bits, so that a demo left running on a shared machine is not open to guessing.
new_password() { od -An -N12 -tx1 /dev/urandom | tr -d ' \n'; }

refuse_foreign() {
  local foreign
  foreign=$(foreign_things)
  if [[ -n $foreign ]]; then
    die "these have names that the demo uses, and are not the demo's:" "${foreign//$'\n'/$'\n'       }" \
      "nothing was changed. Remove them if you do not need them, or use HUBWARDEN_ENGINE=demo (as root on Debian)"
  fi
}

find_base_image() {
  BASE_IMAGE=$("$offline/base-images.sh" python)
  export BASE_IMAGE
}

# Without the notes of `up`: later builds find the layers in the engine's build cache.
build() {
  ENGINE='' HOST=''
  choose_engine
  connect_engine
  find_base_image
  fill_variables
  build_images
}

# Compose needs a value for every variable, also to build or to remove.
fill_variables() { export DOCKER_GID=0 HUBWARDEN_DEMO_PASSWORD=unused BASE_IMAGE=${BASE_IMAGE:-unused}; }

# One after the other: they share layers, and three builds at once are no faster on two cores.
build_images() {
  local service network=default
  if [[ $ENGINE != machine ]]; then network=host; fi
  for service in agent hub; do
    step "building the $service's image (minutes the first time, a second after that)" compose build "$service"
  done
  step "building the users' image (the same)" docker build --network "$network" --build-arg "BASE_IMAGE=$BASE_IMAGE" \
    --label "hubwarden-demo.project=$COMPOSE_PROJECT_NAME" --file "$here/user/Dockerfile" \
    --tag "$HUBWARDEN_USER_IMAGE" "$root"
}

wait_for_hub() {
  local started=$SECONDS tick=0 address="http://127.0.0.1:$HUB_PORT/hub/health"
  until answers_http "$address"; do
    if ((SECONDS - started > HUB_TIMEOUT)); then
      compose ps --all >&2
      compose logs --tail 30 >&2
      die "the Hub did not answer at $address in $HUB_TIMEOUT s" "its log and the agent's are above"
    fi
    tick=$((tick + 1))
    if ((tick % 20 == 0)); then say "  waiting for the Hub: $((SECONDS - started)) s"; fi
    sleep 0.5
  done
}

# With curl or Python, and without the environment's proxy, which does not reach loopback.
answers_http() {
  if have curl; then
    curl --noproxy '*' --silent --fail --max-time 5 --output /dev/null "$1"
  else
    python3 -c 'import sys, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=5)' \
      "$1" 2>/dev/null
  fi
}

print_login() {
  local hint=''
  if [[ $ENGINE != machine ]]; then hint="   (to look at it: eval \"\$(deploy/offline/engine.sh env $ENGINE)\")"; fi
  cat <<EOT

Hubwarden's demo runs:  http://127.0.0.1:$HUB_PORT
  a user                alice      (any other name is another user)
  an admin              admin
  password for all      $PASSWORD
  Docker engine         $ENGINE$hint
  take it down          make demo-down
EOT
}

down() {
  read_state
  if [[ -z $ENGINE ]]; then
    say "no demo was brought up as '$COMPOSE_PROJECT_NAME' from here: nothing to remove"
    return 0
  fi
  connect_engine
  fill_variables
  remove_users
  step "removing agent, Hub, their volumes and their network" compose down --volumes --remove-orphans
  remove_images
  if [[ $ENGINE == demo ]]; then "$offline/engine.sh" stop demo; fi
  rm -f "$(state_file)"
  say "kept for the next time: programs, base image and build cache (in $(cache_dir) and the engine's own build cache)"
}

# The list of volumes first: afterwards nothing would tell whose they were. The Hub first of all, so that nobody spawns.
remove_users() {
  local containers volumes
  step "stopping the Hub" compose stop hub
  containers=$(user_containers)
  volumes=$(user_volumes)
  # Word splitting is what is wanted: ids and volume names hold no spaces.
  # shellcheck disable=SC2086
  if [[ -n $containers ]]; then step "removing users' containers" docker rm --force $containers; fi
  # shellcheck disable=SC2086
  if [[ -n $volumes ]]; then step "removing users' volumes" docker volume rm $volumes; fi
}

# By tag, and what an earlier build of this stack left without one. An image that something else uses stays.
remove_images() {
  local image
  for image in "$HUBWARDEN_AGENT_IMAGE" "$HUBWARDEN_HUB_IMAGE" "$HUBWARDEN_USER_IMAGE"; do
    if docker image inspect "$image" >/dev/null 2>&1; then
      docker image rm "$image" >/dev/null 2>&1 || warn "image $image stays: something else uses it"
    fi
  done
  docker image prune --force --filter "label=hubwarden-demo.project=$COMPOSE_PROJECT_NAME" >/dev/null
}

case ${1:-} in
  up | build | down) "$1" ;;
  *)
    sed -n '4,6s/^# \{0,1\}//p' "$here/demo.sh" >&2
    exit 2
    ;;
esac
