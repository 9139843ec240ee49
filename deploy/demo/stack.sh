#!/usr/bin/env bash
# Which engine the demo runs on, and what on that engine is the demo's own.
#
# Invariants: ownership is shown by labels that Compose or the agent set, or by a name derived from a user that this
# demo's Hub or containers know.
# Must not: claim something by the prefix of its name; a prefix is only a reason to refuse.
set -euo pipefail

PROJECT_LABEL=com.docker.compose.project

# From the script that sources this: its folder, the repository, and the folder of the private engine.
: "${here:?}" "${root:?}" "${offline:?}"

# What `up` notes for later runs and for `down`: the engine, the password, and which clone it was.
state_file() { printf '%s/stacks/%s.env\n' "$(cache_dir)" "$COMPOSE_PROJECT_NAME"; }

# Sets ENGINE, HOST, PASSWORD and OWNER from the notes; they stay empty when there are none.
read_state() {
  ENGINE='' HOST='' PASSWORD='' OWNER=''
  if [[ -r $(state_file) ]]; then
    # shellcheck disable=SC1090  # written by write_state below, mode 0600
    . "$(state_file)"
  fi
  if [[ -n $OWNER && $OWNER != "$root" && -d $OWNER ]]; then
    die "the stack '$COMPOSE_PROJECT_NAME' was brought up from another folder: $OWNER" \
      "take it down there (make demo-down), or set COMPOSE_PROJECT_NAME to another name"
  fi
}

write_state() {
  mkdir -p "$(cache_dir)/stacks"
  (
    umask 077
    printf '%s=%q\n' ENGINE "$ENGINE" HOST "$HOST" PASSWORD "$PASSWORD" OWNER "$root" >"$(state_file).new"
  )
  mv "$(state_file).new" "$(state_file)"
}

machine_engine_answers() { have docker && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

# Sets ENGINE: what was asked for, else what was used before, else the machine's own, else a private one.
choose_engine() {
  ENGINE=${HUBWARDEN_ENGINE:-$ENGINE}
  if [[ -z $ENGINE ]]; then
    if machine_engine_answers; then
      ENGINE=machine
    else
      say "no Docker engine with the Compose plugin answers here: a private one is used"
      ENGINE=demo
    fi
  fi
}

# Points the docker client at ENGINE; starts it if it is a private one.
connect_engine() {
  if [[ $ENGINE == machine ]]; then
    # The same engine for `down` as for `up`, whatever DOCKER_HOST says by then.
    HOST=${HOST:-${DOCKER_HOST:-}}
    if [[ -n $HOST ]]; then export DOCKER_HOST=$HOST; fi
    machine_engine_answers || die "this machine's Docker engine does not answer" "start it and try again"
    return 0
  fi
  "$offline/engine.sh" start "$ENGINE"
  eval "$("$offline/engine.sh" env "$ENGINE")"
}

# Where the engine finds its own socket, for the agent's mount, and the group that the socket has inside a container.
# Asked from inside one, because on a laptop the engine lives in a virtual machine with other numbers.
find_socket() {
  local host=${DOCKER_HOST:-}
  if [[ -z $host ]]; then host=$(docker context inspect --format '{{.Endpoints.docker.Host}}'); fi
  [[ $host == unix://* ]] || die "the Docker engine is at $host, not on a unix socket" "the agent needs one to mount"
  DOCKER_SOCKET=${host#unix://}
  if [[ $(uname -s) != Linux ]]; then DOCKER_SOCKET=/var/run/docker.sock; fi
  DOCKER_GID=$(docker run --rm --network none --entrypoint stat --volume "$DOCKER_SOCKET:/var/run/docker.sock" \
    "$BASE_IMAGE" -c %g /var/run/docker.sock) ||
    die "the engine cannot mount its own socket: $DOCKER_SOCKET"
  export DOCKER_SOCKET DOCKER_GID
}

network_is_ours() { [[ $(network_project) == "$COMPOSE_PROJECT_NAME" ]]; }
network_project() {
  docker network inspect --format "{{index .Labels \"$PROJECT_LABEL\"}}" "$HUBWARDEN_NETWORK" 2>/dev/null || true
}

# Users' containers of this demo: made by an agent, and on this demo's own network.
user_containers() {
  if network_is_ours; then
    docker ps --all --no-trunc --quiet --filter label=hubwarden.agent --filter "network=$HUBWARDEN_NETWORK"
  fi
}

# Volumes that this demo's users have or can have: those in their containers, and, because a reset leaves the workspace
# without a container, those of every user in the Hub's database by the templates in agent.toml.
user_volumes() {
  local container
  {
    for container in $(user_containers); do
      docker inspect --format '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Name}}{{end}}{{end}}' "$container"
    done
    hub_users_volumes
  } | sort -u | { grep -xF -f <(docker volume ls --quiet) || true; } | { grep . || true; }
}

hub_users_volumes() {
  local data="${COMPOSE_PROJECT_NAME}_hub"
  if docker volume inspect "$data" >/dev/null 2>&1 && docker image inspect "$HUBWARDEN_HUB_IMAGE" >/dev/null 2>&1; then
    docker run --rm --interactive --network none --volume "$data:/srv/jupyterhub" --entrypoint python3 \
      "$HUBWARDEN_HUB_IMAGE" - <"$here/users_volumes.py"
  fi
}

# Everything with a name that this demo uses or could use, and that is not its own: one line each.
foreign_things() {
  foreign_containers
  docker volume ls --format "{{.Name}} {{.Label \"$PROJECT_LABEL\"}}" |
    awk -v name="$COMPOSE_PROJECT_NAME" '$1 ~ "^" name "_(run|state|hub)$" && $2 != name { print "volume " $1 }'
  docker volume ls --quiet | { grep -E '^jupyterlab-.+_(home|workspace|cache)$' || true; } | sort |
    comm -23 - <(user_volumes | sort) | sed 's/^/volume /'
  if docker network inspect "$HUBWARDEN_NETWORK" >/dev/null 2>&1 && ! network_is_ours; then
    printf 'network %s\n' "$HUBWARDEN_NETWORK"
  fi
}

foreign_containers() {
  local ours name project folder id
  ours=$(user_containers)
  while IFS='|' read -r id name project folder; do
    if [[ $project == "$COMPOSE_PROJECT_NAME" ]]; then
      if [[ $folder != "$root" ]]; then printf 'container %s (of %s)\n' "$name" "$folder"; fi
    elif [[ $name == "$COMPOSE_PROJECT_NAME"-* ]]; then
      printf 'container %s\n' "$name"
    elif [[ $name == jupyterlab-* ]] && ! grep -qxF "$id" <<<"$ours"; then
      printf 'container %s\n' "$name"
    fi
  done < <(docker ps --all --no-trunc --format \
    "{{.ID}}|{{.Names}}|{{.Label \"$PROJECT_LABEL\"}}|{{.Label \"$PROJECT_LABEL.working_dir\"}}")
}
