#!/usr/bin/env bash
# Prints what one process costs beside four that share its work: the table of docs/scale.md. Minutes.
#
#   SCALE_OBJECTS=N     so many objects, 100000 unless told
#   SCALE_HOST=PATH     measure this host instead of the one of the everyday profile
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -n "${SCALE_HOST:-}" ]; then
  SCALE_HOST=$(realpath "$SCALE_HOST")
  export SCALE_HOST
fi
exec cargo test --workspace --test shard -- --ignored --nocapture one_process
