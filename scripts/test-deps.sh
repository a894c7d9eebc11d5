#!/usr/bin/env bash
# Installs what only the tests need, and says what it installs: haproxy checks the configuration
# that the example renders, kubectl talks to the embedded cluster, chromium shows the host's page.
set -euo pipefail

say() { printf 'test-deps: %s\n' "$*"; }
fail() {
  printf 'test-deps: error: %s\n' "$*" >&2
  exit 3
}
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}
install_package() {
  command -v apt-get >/dev/null || fail "$1 is missing and there is no apt-get: install $1 by hand."
  say "installing Debian's $1"
  local log
  log=$(mktemp)
  if ! { apt-cache show "$1" || as_root apt-get update; } >"$log" 2>&1 ||
    ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
      install -y --no-install-recommends "$1" >>"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "apt-get could not install $1; its output is above."
  fi
  rm -f "$log"
}

PATH=$PATH:/usr/sbin
command -v haproxy >/dev/null || install_package haproxy
command -v chromium chromium-browser google-chrome >/dev/null || install_package chromium
if ! command -v kubectl >/dev/null; then
  if apt-cache show kubectl >/dev/null 2>&1; then
    install_package kubectl
  else
    install_package kubernetes-client
  fi
fi
