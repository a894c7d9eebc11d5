#!/usr/bin/env bash
# Runs the fuzz targets of haptic-core, or those that are named, one after the other, each for
# FUZZ_SECONDS (60) seconds. Needs stable Rust and a C++ compiler, which builds libFuzzer.
# What was learnt stays in target/fuzz/corpus, so that the next run goes on from there; an input that
# fails is written to target/fuzz/found, and the script fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${FUZZ_DIR:-$PWD/target/fuzz}
seconds=${FUZZ_SECONDS:-60}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frames decode paths)

if ! command -v c++ >/dev/null; then
  echo 'fuzz: there is no C++ compiler (c++) to build libFuzzer with; on Debian: apt-get install g++' >&2
  exit 1
fi

# What `cargo fuzz` passes: coverage counters, and comparisons as hints, of all Rust code. With a
# target given, build scripts and macros go without.
host=$(rustc -vV | sed -n 's/^host: //p')
flags='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
flags+=' -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table'
flags+=' -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0'
RUSTFLAGS="$flags --cfg fuzzing" cargo build --release --locked --target "$host" \
  --manifest-path host/core/fuzz/Cargo.toml --target-dir "$out/build"

for target in "${targets[@]}"; do
  mkdir -p "$out/corpus/$target" "$out/found/$target"
  inputs=("$out/corpus/$target")
  for folder in host/core/fuzz/{seeds,regressions}/"$target"; do
    [ ! -d "$folder" ] || inputs+=("$folder")
  done
  echo "fuzz: $target for $seconds s"
  # No input takes a millisecond, so 5 s is a loop; nor does any need memory: 1 GiB is a leak.
  "$out/build/$host/release/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
    -max_len=4096 -print_final_stats=1 -dict="host/core/fuzz/dictionaries/$target.dict" \
    -artifact_prefix="$out/found/$target/" "${inputs[@]}"
done
