# haptic-host, and nothing else: no shell, no package manager, not root.
#
#   docker build -t haptic-host:0.1.0 .
#       The host alone; plugins come from a registry (--plugin oci://…), or are mounted at /plugins.
#   docker build -t render-host:1 --target with-plugin --build-arg PLUGIN=render.wasm .
#       The host with a plugin in it, as /plugins/render.wasm.
#
# `haptic-host manifests` prints what runs it in a cluster; docs/deploy.md says more.

# The Rust that Cargo.toml asks for, on the Debian whose C library the last stage has.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p haptic-host

FROM gcr.io/distroless/cc-debian12:nonroot AS host
COPY --from=build /src/target/release/haptic-host /usr/local/bin/haptic-host
# By number, so that runAsNonRoot can be checked without reading /etc/passwd.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/haptic-host"]

FROM host AS with-plugin
ARG PLUGIN
COPY --chmod=0444 ${PLUGIN} /plugins/

# What is built when no target is named.
FROM host
