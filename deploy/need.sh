#!/usr/bin/env bash
# Installs the Debian packages whose command is missing: need.sh command=package ...
#
# It reports what it installs. Without root or Debian it installs nothing and reports what is missing.
set -euo pipefail
# shellcheck source=lib/common.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib/common.sh"
need_commands "$@"
