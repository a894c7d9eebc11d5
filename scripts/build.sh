#!/usr/bin/env bash
# Builds the host and everything that the tests need, in the everyday profile, and says so: from
# nothing it takes minutes. All at once, because cargo picks the dependencies' features by what is
# built together: the host alone, and then the tests, would compile wasmtime twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -d target/debug/deps ]; then
  echo 'build: compiling the host and its dependencies; the first time takes some fifteen minutes on two cores'
fi
# Not quietly: who waits for minutes wants to see that something moves.
exec cargo test --workspace --no-run
