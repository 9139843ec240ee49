#!/usr/bin/env bash
# Installs the Debian packages whose command is missing: need.sh command=package ...
#
# Always: says so first. Never: installs anything unless root on Debian; anywhere else it says what is missing.
set -euo pipefail
# shellcheck source=lib/common.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib/common.sh"
need_commands "$@"
