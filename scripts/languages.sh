#!/usr/bin/env bash
# Builds the plugin of examples/targets in other languages, each into target/languages/LANGUAGE.wasm,
# and sees to what this takes.
#
#   scripts/languages.sh [LANGUAGE...]   python, javascript, c, rust or all; all if none is named
#
# What was built from the same files is not built again. Everything that is installed goes into
# target/languages, but for the Debian packages: C takes clang-22, lld-22, libclang-rt-22-dev-wasm32
# and rust-web-llvm, and Python python3-venv if this Python has no venv. rust is what
# `scripts/guests.sh targets-plugin` builds, in target/guests.
#
# Exit codes: 0 all built; 1 a plugin does not build; 2 wrong usage; 3 something cannot be installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
readonly root
readonly out=$root/target/languages
language=

say() { printf 'languages: %s%s\n' "${language:+$language: }" "$*"; }
fail() {
  local code=$1
  shift
  printf 'languages: error: %s%s\n' "${language:+$language: }" "$*" >&2
  exit "$code"
}

# Runs a command silently; when it fails, shows what it printed.
quietly() {
  local log status=0
  log=$(mktemp "$out/log.XXXXXX")
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

# One hash of files and folders.
hash_of() {
  find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

# Whether something was made from these files.
is_current() {
  local made=$1
  shift
  [ -e "$made" ] && [ "$(cat "$made.stamp" 2>/dev/null)" = "$(hash_of "$@")" ]
}

stamp() {
  local made=$1
  shift
  hash_of "$@" >"$made.stamp"
}

# The component, if what it is made from has changed: component SOURCES... -- COMMAND...
component() {
  local made=$out/$language.wasm sources=(scripts/languages.sh wit "examples/$language")
  if is_current "$made" "${sources[@]}"; then
    say "target/languages/$language.wasm is current"
    return
  fi
  "build_$language" "$out/$language.new.wasm"
  mv "$out/$language.new.wasm" "$made"
  stamp "$made" "${sources[@]}"
  say "built target/languages/$language.wasm"
}

build_python() {
  local requirements=examples/python/requirements.txt venv=$out/python/venv
  command -v python3 >/dev/null || fail 3 "python3 is not installed."
  if ! is_current "$venv" "$requirements"; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/guests.sh packages python3-venv
    say "installing $(paste -sd ' ' "$requirements") into target/languages/python"
    rm -rf "$venv"
    mkdir -p "$out/python"
    quietly python3 -m venv "$venv" || fail 3 "python3 made no virtual environment; its output is above."
    quietly "$venv/bin/pip" install --disable-pip-version-check --no-deps --requirement "$requirements" ||
      fail 3 "pip could not install $requirements; its output is above."
    stamp "$venv" "$requirements"
  fi
  # From a copy: Python leaves its own cache beside what it imports.
  mkdir -p "$out/python/app"
  cp examples/python/app.py "$out/python/app"
  say 'making the component'
  quietly "$venv/bin/componentize-py" -d wit -w plugin componentize -p "$out/python/app" app -o "$1" ||
    fail 1 "componentize-py failed; its output is above."
}

build_javascript() {
  local work=$out/javascript packages=(examples/javascript/package.json examples/javascript/package-lock.json)
  command -v npm >/dev/null || fail 3 "npm is not installed: install Node.js 20 or newer."
  mkdir -p "$work"
  if ! is_current "$work/node_modules" "${packages[@]}"; then
    say "npm ci: what examples/javascript/package-lock.json names, into target/languages/javascript"
    cp "${packages[@]}" "$work"
    quietly npm ci --prefix "$work" --no-audit --no-fund || fail 3 "npm ci failed; its output is above."
    stamp "$work/node_modules" "${packages[@]}"
  fi
  cp examples/javascript/*.js examples/javascript/*.mjs "$work"
  say 'making the component'
  quietly node "$work/build.mjs" wit "$1" || fail 1 "componentize-js failed; its output is above."
}

build_c() {
  local work=$out/c sysroot bindings=(wit examples/c/generator)
  scripts/guests.sh packages clang-22 lld-22 libclang-rt-22-dev-wasm32 rust-web-llvm
  sysroot=$(scripts/guests.sh wasi-libc)
  mkdir -p "$work"
  if ! is_current "$work/bindings" "${bindings[@]}"; then
    say "generating the bindings of the contract"
    rm -rf "$work/bindings"
    mkdir "$work/bindings"
    quietly env -u RUSTFLAGS "${CARGO:-cargo}" run --locked --manifest-path examples/c/generator/Cargo.toml \
      --target-dir "$work/generator" -- wit "$work/bindings" ||
      fail 1 "the bindings could not be generated; the output is above."
    stamp "$work/bindings" "${bindings[@]}"
  fi
  say 'compiling'
  # clang has wasm-component-ld make a component of what wasm-ld links.
  PATH="$PATH:$(echo /usr/lib/rustlib/*/bin)" quietly clang-22 --target=wasm32-wasip2 "--sysroot=$sysroot" \
    -mexec-model=reactor -O2 -s -Wall -Wextra -Werror -I "$work/bindings" -o "$1" \
    examples/c/*.c "$work"/bindings/plugin.c "$work"/bindings/plugin_component_type.o ||
    fail 1 "clang failed; its output is above."
}

build() {
  language=$1
  case $language in
    rust) scripts/guests.sh targets-plugin ;;
    python | javascript | c) component ;;
  esac
}

languages=()
for word in "${@:-all}"; do
  case $word in
    all) languages+=(rust c python javascript) ;;
    rust | c | python | javascript) languages+=("$word") ;;
    -h | --help)
      sed -n '2,12s/^# \{0,1\}//p' scripts/languages.sh
      exit
      ;;
    *) fail 2 "unknown language '$word'; usage: scripts/languages.sh [python|javascript|c|rust|all]" ;;
  esac
done

mkdir -p "$out"
# At the same time: they wait for downloads in turns.
pids=()
for word in "${languages[@]}"; do
  (build "$word") &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || {
    code=$?
    [ "$code" -le "$status" ] || status=$code
  }
done
exit "$status"
