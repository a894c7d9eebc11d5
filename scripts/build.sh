#!/usr/bin/env bash
# Builds one package in the everyday profile, and says so: from nothing it takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
package=$1
if [ ! -d target/debug/deps ]; then
  printf 'build: compiling %s and its dependencies; the first time takes about ten minutes on two cores\n' "$package"
fi
exec cargo build --package "$package"
