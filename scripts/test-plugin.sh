#!/usr/bin/env bash
# Tests a plugin that `haptic-host new` made for this checkout, with the dependencies that this
# checkout's own tests have compiled: `cargo test` in the plugin's folder compiles them again.
#   cd my-plugin && …/scripts/test-plugin.sh [ARGUMENTS of cargo test...]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
profile=$root/target/test-plugin.toml
deps=$root/target/debug/deps
plugin=$PWD

[ -f Cargo.toml ] || {
  echo "test-plugin: error: there is no Cargo.toml in $plugin: run this in the plugin's folder" >&2
  exit 2
}
crate=$(sed -n '/^\[package\]/,/^\[/s/^name *= *"\(.*\)"/\1/p' Cargo.toml | tr - _)
mkdir -p "$deps"

# One plugin at a time: cargo calls a component's library after its package alone, so that one of the
# same name elsewhere, which was tested here last, would pass for this one.
exec 9>"$root/target/test-plugin.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ "$(cat "$deps/$crate.owner" 2>/dev/null)" != "$plugin" ]; then
  rm -f "$deps/lib$crate".*
  printf '%s\n' "$plugin" >"$deps/$crate.owner"
fi

# Dependencies are those of the checkout only under its profile. Its own crates are dependencies here,
# and better compiled fast.
{
  awk '/^\[/ { wanted = /^\[profile\.dev/ } wanted' "$root/Cargo.toml"
  for package in haptic-host haptic-harness haptic-guest haptic-guest-macros; do
    printf '[profile.dev.package.%s]\nopt-level = 0\n' "$package"
  done
} >"$profile"
cargo test --target-dir "$root/target" --config "$profile" "$@" 9>&-
