#!/usr/bin/env bash
# The main job, end to end: a plugin renders HAProxy's configuration from a small shop's cluster,
# and again when the cluster changes.
#   scripts/demo.sh HOST PLUGIN
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
host=$1 plugin=$2

work=$(mktemp -d)
pid=
cleanup() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
title() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }

# Waits until the file differs from the copy beside it; the host is to render within seconds.
wait_for_change() {
  local tries
  for tries in $(seq 300); do
    if [ -s "$work/out/haproxy.cfg" ] && ! cmp -s "$work/out/haproxy.cfg" "$work/seen.cfg"; then
      cp "$work/out/haproxy.cfg" "$work/seen.cfg"
      return 0
    fi
    if ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  printf 'demo: error: no new haproxy.cfg after %s tenths of a second; the host logged:\n' "$tries" >&2
  cat "$work/log" >&2
  exit 1
}

cp -r examples/cluster "$work/cluster"
touch "$work/seen.cfg"

title "A cluster from $(find examples/cluster -name '*.yaml' | wc -l) manifests, and the host with the HAProxy plugin"
echo "haptic-host --plugin $(basename "$plugin") --manifests examples/cluster --allow declared,secrets --output out"
"$host" --plugin "$plugin" --manifests "$work/cluster" --allow declared,secrets \
  --output "$work/out" 2>"$work/log" &
pid=$!
wait_for_change
title "What it rendered: out/haproxy.cfg"
cat "$work/out/haproxy.cfg"

# Puts a file of examples/changes in the place of one of the cluster's, or beside them.
change() {
  cp "$work/seen.cfg" "$work/before.cfg"
  title "A change: $(sed -n 's/^# *//p;q' "examples/changes/$1")"
  cp "examples/changes/$1" "$work/cluster/$2"
  wait_for_change
  diff -u --label haproxy.cfg --label haproxy.cfg "$work/before.cfg" "$work/seen.cfg" || true
}

change 1-endpoint-goes.yaml shop-web-endpoints.yaml
change 2-ingress-comes.yaml blog-help.yaml

title "What the host logged"
sed "s|$work/||g" "$work/log"
kill -TERM "$pid"
wait "$pid"
pid=
