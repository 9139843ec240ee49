#!/usr/bin/env bash
# Run the Hub tests on every supported JupyterHub, at once:  every-hub.sh [--full] ENGINE ENVIRONMENT...
#
# The first environment runs all but the tests marked `full`, each other one only those marked `every_hub` as well.
# With --full each runs all. Each has an engine of its own, ENGINE-hub4, ENGINE-hub5 and so on by its major version.
# Invariants: the output of each version is shown in one piece, at its end; every version runs to its end; if one fails,
# the script fails and names it.
# Must not: run two versions on one engine; leave one running after the script.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/common.sh
. "$here/lib/common.sh"

full=
if [[ ${1:-} == --full ]]; then
  full=1
  shift
fi
(($# >= 2)) || die "usage: every-hub.sh [--full] ENGINE ENVIRONMENT..."
engine=$1
shift
newest=$1

logs=$(mktemp -d)
declare -A jobs=()

# What still runs when the script is stopped is interrupted, as by a person, so that pytest takes its Hubs down.
end() {
  local pid
  for pid in "${!jobs[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done
  wait
  rm -rf "$logs"
}
trap end EXIT
trap 'exit 130' INT TERM

# $1: an environment, $2: its engine, $3: its JupyterHub's version.
run() {
  local select=(-m "not full")
  if [[ $1 != "$newest" ]]; then select=(-m "every_hub and not full"); fi
  if [[ -n $full ]]; then select=(); fi
  {
    "$here/offline/engine.sh" start "$2"
    "$here/offline/engine.sh" empty "$2"
    HUBWARDEN_TEST_ENGINE=$2 "$here/../.ci/timed" "hub-$3" "$1/bin/python" -m pytest tests/hub -p no:cacheprovider \
      --durations=25 --junitxml="test-results/hub-$3.xml" "${select[@]}"
  } >"$logs/$3" 2>&1
}

set -m # a process group a job
for environment in "$@"; do
  version=$("$environment/bin/python" -c 'import jupyterhub; print(jupyterhub.__version__)')
  own=$engine-hub${version%%.*}
  say "JupyterHub $version on the engine $own"
  run "$environment" "$own" "$version" &
  jobs[$!]=$version
done

failed=()
while ((${#jobs[@]})); do
  status=0
  wait -n -p pid "${!jobs[@]}" || status=$?
  version=${jobs[$pid]}
  unset "jobs[$pid]"
  say "JupyterHub $version: exit $status"
  cat "$logs/$version"
  if ((status)); then failed+=("$version"); fi
done
if ((${#failed[@]})); then die "the Hub tests failed on JupyterHub ${failed[*]}"; fi
