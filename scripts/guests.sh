#!/usr/bin/env bash
# Builds the guests (plugins as WebAssembly components) into
# target/guests/wasm32-wasip2/release/*.wasm, and sees to the toolchain that this takes.
#
#   scripts/guests.sh [build] [PACKAGE...]   build these packages, or all guests of the workspace
#   scripts/guests.sh --manifest-path FILE   build the package of this Cargo.toml, wherever it is, into
#                                            target/wasm32-wasip2/release beside it, where cargo would
#   scripts/guests.sh toolchain              only make sure that guests can be built
#   scripts/guests.sh packages PACKAGE...    install packages of Debian 12, if they are missing
#   scripts/guests.sh wasi-libc              unpack wasi-libc, and print the folder: a sysroot for C
#   scripts/guests.sh list                   print the packages that `build` builds by default
#
# Which toolchain, in this order:
#   1. the target wasm32-wasip2 of the Rust in use, if it is installed;
#   2. Debian 12's packages, if they are installed, or if apt-get may install them: we are root, or
#      CI is set, or HAPTIC_GUEST_TOOLCHAIN=debian;
#   3. `rustup target add wasm32-wasip2`.
# HAPTIC_GUEST_TOOLCHAIN=target|debian|rustup asks for one of the three and no other.
#
# Exit codes: 0 all built; 1 a guest does not build; 2 wrong usage; 3 no toolchain.
set -euo pipefail

readonly TARGET=wasm32-wasip2
# rustc-web, rust-web-src, rust-web-llvm: Debian's current rustc, the source of the same standard
# library, and wasm-component-ld. lld-22: the wasm-ld that fits them (plain `lld` does not).
readonly DEBIAN_PACKAGES=(rustc-web rust-web-src rust-web-llvm lld-22)
readonly DEBIAN_RUSTC=/usr/bin/rustc

caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
readonly root caller
readonly toolchain_dir=$root/target/guest-toolchain
readonly wasi_libc=$toolchain_dir/wasi-libc/usr/lib/$TARGET
cargo=${CARGO:-cargo}

say() { printf 'guests: %s\n' "$*"; }
fail() {
  local code=$1
  shift
  printf 'guests: error: %s\n' "$*" >&2
  exit "$code"
}

# Runs a command silently; when it fails, shows what it printed.
quietly() {
  local log status=0
  mkdir -p "$toolchain_dir"
  log=$(mktemp "$toolchain_dir/log.XXXXXX")
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

default_packages() {
  local manifest
  for manifest in examples/*/Cargo.toml tests/guests/Cargo.toml tests/guests/*/Cargo.toml; do
    [ -f "$manifest" ] || continue
    awk '
      /^\[/ { section = $0 }
      section == "[package]" && /^name[ \t]*=/ { gsub(/^name[ \t]*=[ \t]*"|".*$/, ""); name = $0 }
      section == "[lib]" && /cdylib/ { guest = 1 }
      END { if (guest) print name }
    ' "$manifest"
  done
}

target_installed() {
  local dir
  dir=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null) &&
    compgen -G "$dir/libstd-*.rlib" >/dev/null
}

# --- Debian -----------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }

codename() {
  (
    # shellcheck source=/dev/null
    . /etc/os-release 2>/dev/null || true
    printf '%s' "${VERSION_CODENAME:-}"
  )
}

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

debian_asked() {
  [ "${HAPTIC_GUEST_TOOLCHAIN:-}" = debian ] || [ -n "${CI:-}" ] || [ "$(id -u)" -eq 0 ]
}

# Debian 12 only: elsewhere these packages are missing, or untried.
debian_serves() {
  on_debian || return 1
  [ -z "$(missing_packages "${DEBIAN_PACKAGES[@]}")" ] || debian_asked
}

apt_update() {
  say "apt-get update (the machine's package lists are missing or old)"
  quietly as_root apt-get -o DPkg::Lock::Timeout=300 update
}

apt_install() {
  quietly as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

# The first word says what for.
install_packages() {
  local why=$1 missing package updated=
  shift
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  can_be_root || fail 3 "building guests needs the Debian packages ${missing[*]}, and installing them needs root:" \
    "run 'apt-get install --no-install-recommends ${missing[*]}' as root."
  for package in "${missing[@]}"; do
    if ! apt-cache show "$package" >/dev/null 2>&1; then
      apt_update || fail 3 "apt-get update failed; its output is above."
      updated=yes
      break
    fi
  done
  say "installing Debian's ${missing[*]}: $why"
  if apt_install "${missing[@]}"; then return 0; fi
  # Lists that exist may be older than the mirror.
  if [ -z "$updated" ] && apt_update && apt_install "${missing[@]}"; then return 0; fi
  fail 3 "apt-get could not install ${missing[*]}; its output is above."
}

on_debian() { command -v apt-get >/dev/null && [ "$(codename)" = bookworm ]; }

# The machine's own sources entries for bookworm, with the suite changed to bookworm-backports:
# bookworm's own wasi-libc is older than wasm32-wasip2.
write_backports_sources() {
  local parts=$1 file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    awk 'BEGIN { RS = ""; ORS = "\n\n" } /(^|\n)Suites:[^\n]*[ \t]bookworm(-updates)?([ \t\n]|$)/' "$file" |
      sed 's/^Suites:.*/Suites: bookworm-backports/'
  done >"$parts/backports.sources"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    sed -nE 's/^(deb[ \t]+(\[[^]]*\][ \t]+)?[^ \t]+[ \t]+)bookworm([ \t].*)$/\1bookworm-backports\3/p' "$file"
  done >"$parts/backports.list"
  [ -s "$parts/backports.sources" ] || rm "$parts/backports.sources"
  [ -s "$parts/backports.list" ] || rm "$parts/backports.list"
  [ -n "$(ls "$parts")" ]
}

# wasi-libc, unpacked inside the repository. Downloading needs no root.
unpack_wasi_libc() {
  [ -f "$wasi_libc/libc.a" ] && return 0
  local work=$toolchain_dir/apt
  local options=(
    -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
  )
  say "unpacking wasi-libc (bookworm-backports) under target/guest-toolchain: what $TARGET links with"
  rm -rf "$work" "$toolchain_dir/wasi-libc" "$toolchain_dir/wasi-libc.new"
  mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/download"
  write_backports_sources "$work/parts" ||
    fail 3 "no entry for bookworm in the apt sources of this machine, from which to derive bookworm-backports."
  quietly apt-get "${options[@]}" update ||
    fail 3 "the package lists of bookworm-backports could not be fetched; apt's output is above."
  (cd "$work/download" && quietly apt-get "${options[@]}" download wasi-libc) ||
    fail 3 "wasi-libc could not be fetched from bookworm-backports; apt's output is above."
  quietly dpkg -x "$work"/download/wasi-libc_*.deb "$toolchain_dir/wasi-libc.new" ||
    fail 3 "wasi-libc could not be unpacked."
  mv "$toolchain_dir/wasi-libc.new" "$toolchain_dir/wasi-libc"
  rm -rf "$work"
  [ -f "$wasi_libc/libc.a" ] || fail 3 "the wasi-libc of bookworm-backports has no $TARGET."
}

use_debian() {
  install_packages "this Rust has no $TARGET, they can build its standard library" "${DEBIAN_PACKAGES[@]}"
  unpack_wasi_libc
  # The standard library is built along with the guests, from Debian's source, by the compiler
  # that this source belongs to.
  export RUSTC=$DEBIAN_RUSTC RUSTC_BOOTSTRAP=1
  export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="-L native=$wasi_libc"
  cargo_flags+=(-Z 'build-std=std,panic_abort')
}

# --- Choice -----------------------------------------------------------------------------------

use_rustup() {
  command -v rustup >/dev/null ||
    fail 3 "no Rust target $TARGET here, no Debian packages that could stand in, and no rustup to add it with." \
      "Install the target $TARGET for $(command -v rustc || echo 'your Rust')."
  say "rustup target add $TARGET: guests are compiled for it"
  quietly rustup target add "$TARGET" ||
    fail 3 "rustup could not add $TARGET; its output is above. On Debian 12, HAPTIC_GUEST_TOOLCHAIN=debian uses packages instead."
}

choose_toolchain() {
  command -v "$cargo" >/dev/null || fail 3 "cargo is not installed."
  cargo_flags=()
  case ${HAPTIC_GUEST_TOOLCHAIN:-} in
    '') if target_installed; then return; elif debian_serves; then use_debian; else use_rustup; fi ;;
    target) target_installed || fail 3 "HAPTIC_GUEST_TOOLCHAIN=target, but $TARGET is not installed." ;;
    debian)
      debian_serves || fail 3 "HAPTIC_GUEST_TOOLCHAIN=debian, but this is not a Debian 12 with apt-get."
      use_debian
      ;;
    rustup) target_installed || use_rustup ;;
    *) fail 2 "HAPTIC_GUEST_TOOLCHAIN is '$HAPTIC_GUEST_TOOLCHAIN'; it can be target, debian or rustup." ;;
  esac
}

build() {
  local packages=("$@") package selection=()
  if [ "${#packages[@]}" -eq 0 ]; then
    mapfile -t packages < <(default_packages)
    [ "${#packages[@]}" -gt 0 ] || fail 2 "the workspace has no guest packages."
  fi
  for package in "${packages[@]}"; do
    [[ $package != -* ]] || fail 2 "unknown option '$package'; usage: scripts/guests.sh [build] [PACKAGE...]"
    selection+=(-p "$package")
    disown_elsewhere "${package//-/_}"
  done
  compile "${selection[@]}"
  say "built ${packages[*]} in target/guests/$TARGET/release"
}

# Compiles what cargo is told to here, in the directory that all guests share: their standard
# library, with Debian's packages, is compiled once.
compile() {
  choose_toolchain
  # Flags for the native build (CI's -D warnings, say) are not for guests, and would replace ours.
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
  # Fast, and with link-time optimisation hardly larger than `s`; the name section stays, so that a
  # trap's backtrace has names.
  export CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=3 CARGO_PROFILE_RELEASE_STRIP=debuginfo
  "$cargo" build --quiet --lib --release --target "$TARGET" --target-dir "$root/target/guests" \
    ${cargo_flags[@]+"${cargo_flags[@]}"} "$@" ||
    fail 1 "the guests could not be built; cargo's output is above."
}

# The file name of a package's component, without its ending.
component_of() {
  awk '
    /^\[/ { section = $0 }
    (section == "[package]" || section == "[lib]") && /^name[ \t]*=/ {
      gsub(/^name[ \t]*=[ \t]*"|".*$/, "")
      names[section] = $0
    }
    END { name = names["[lib]"] ? names["[lib]"] : names["[package]"]; gsub(/-/, "_", name); print name }
  ' "$1"
}

# Cargo calls the file after the package alone: one of the same name elsewhere, which was built here
# last, would pass for this one.
disown_elsewhere() {
  local built=$root/target/guests/$TARGET/release owner=${2:-}
  local file=$built/$1.owner
  if [ "$(cat "$file" 2>/dev/null)" != "$owner" ]; then
    rm -f "$built/deps/$1.wasm" "$file"
    [ -z "$owner" ] || printf '%s\n' "$owner" >"$file"
  fi
}

build_elsewhere() {
  local manifest component built into
  manifest=$(cd "$caller" && realpath -e -- "$1" 2>/dev/null) && [ -f "$manifest" ] ||
    fail 2 "there is no $1; usage: scripts/guests.sh --manifest-path FILE"
  component=$(component_of "$manifest")
  [ -n "$component" ] || fail 2 "$1 has no [package] with a name."
  built=$root/target/guests/$TARGET/release
  mkdir -p "$built"
  exec 9>"$root/target/guests/elsewhere.lock"
  if command -v flock >/dev/null; then flock 9; fi
  disown_elsewhere "$component" "$manifest"
  cd "$(dirname "$manifest")"
  compile --manifest-path "$manifest"
  into=target/$TARGET/release
  mkdir -p "$into"
  # In one step, because a host that runs follows the file.
  cp "$built/$component.wasm" "$into/.$component.wasm.new"
  mv "$into/.$component.wasm.new" "$into/$component.wasm"
  say "built $into/$component.wasm"
}

case ${1:-build} in
  toolchain)
    [ $# -eq 1 ] || fail 2 "usage: scripts/guests.sh toolchain"
    choose_toolchain
    ;;
  --manifest-path)
    [ $# -eq 2 ] || fail 2 "usage: scripts/guests.sh --manifest-path FILE"
    build_elsewhere "$2"
    ;;
  packages)
    [ $# -gt 1 ] || fail 2 "usage: scripts/guests.sh packages PACKAGE..."
    shift
    on_debian || fail 3 "this is not a Debian 12 with apt-get, of which ${*} would be installed."
    install_packages "an example in another language is built with them" "$@"
    ;;
  wasi-libc)
    [ $# -eq 1 ] || fail 2 "usage: scripts/guests.sh wasi-libc"
    on_debian || fail 3 "this is not a Debian 12 with apt-get, of which wasi-libc would be unpacked."
    unpack_wasi_libc >&2
    printf '%s\n' "$toolchain_dir/wasi-libc/usr"
    ;;
  list)
    [ $# -eq 1 ] || fail 2 "usage: scripts/guests.sh list"
    default_packages
    ;;
  build)
    [ $# -eq 0 ] || shift
    build "$@"
    ;;
  -h | --help) sed -n '2,20s/^# \{0,1\}//p' scripts/guests.sh ;;
  *) build "$@" ;;
esac
