# The targets that people and CI run. `make` alone says what there is.

PROFILE_DIR := target/debug
HOST := $(PROFILE_DIR)/haptic-host
GUESTS := target/guests/wasm32-wasip2/release

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench fuzz build guests deps fmt clean soak hostile test-languages bench-languages

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: guests ## Build everything and run the HAProxy example on an embedded cluster
	@scripts/build.sh
	@scripts/demo.sh $(HOST) $(GUESTS)/haproxy_plugin.wasm

test: guests deps ## Run all tests
	cargo test --workspace --no-fail-fast

soak: ## Run random fault schedules (SOAK_SCHEDULES, SOAK_SEED) and print what each fault costs a minute
	cargo test --workspace --test wire -- --include-ignored --nocapture soak w7_

# `command` tests the host, and so has cargo build it. The components are compiled once, and loaded after that.
test-languages: ## Build the example in Python, JavaScript, C and Rust, and hold them to one scenario
	@scripts/languages.sh
	cargo test --workspace --test languages --test command --no-run
	HAPTIC_HARNESS_CACHE=$(CURDIR)/target/languages/cache \
	  cargo test --workspace --test languages -- --include-ignored

# The host's own crates optimised, which the everyday profile leaves as they are.
bench-languages: ## Print what the example costs in each language, as a table
	@scripts/languages.sh
	cargo test --workspace --bench languages \
	  --config profile.dev.package.haptic-core.opt-level=3 --config profile.dev.package.haptic-host.opt-level=3

hostile: guests ## Print what each hostile plugin gets, and costs the plugin beside it
	cargo test --workspace --test guests -- --ignored --nocapture p6_

# The documentation with the examples: dependencies then have the features that clippy has checked them with.
lint: ## Check formatting, clippy and the documentation's links, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --lib --bins --examples

# One set of packages for all benchmarks, so that dependencies are compiled once.
BENCH := cargo bench -p haptic-core -p haptic-benches

bench: ## Measure what the host costs, beside kube-rs: tables, and target/bench.json (docs/performance.md)
	@scripts/guests.sh bench-guest hello-plugin haproxy-plugin
	@rm -f target/bench.json
	@for bench in decode store host; do $(BENCH) --bench $$bench -- --json $(CURDIR)/target/bench.json || exit; done

fuzz: ## Fuzz the parsers of the core, FUZZ_SECONDS (60) each: host/core/fuzz/README.md
	@scripts/fuzz.sh

build: ## Build the optimised host: target/release/haptic-host
	cargo build --release -p haptic-host

guests: ## Build the example plugins, installing a WebAssembly toolchain if there is none
	@scripts/guests.sh

deps: ## Install what only the tests need: haproxy, kubectl and chromium
	@scripts/test-deps.sh

fmt: ## Format the code
	cargo fmt --all

clean: ## Remove everything that was built
	cargo clean
