//! The files of the project. They are text with `my-plugin` for its name and `@…@` for what depends
//! on where the SDK comes from.

use super::{name::PluginName, origin::Origin};

macro_rules! template {
    ($($path:literal from $file:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("template/", $file)))),*]
    };
}

const TEMPLATE: &[(&str, &str)] = template![
    ".gitignore" from "gitignore",
    "Cargo.toml" from "cargo.toml",
    "Makefile" from "makefile",
    "README.md" from "readme.md",
    "haptic.yaml" from "haptic.yaml",
    "manifests/services.yaml" from "services.yaml",
    "src/lib.rs" from "lib.rs",
    "tests/golden/hosts" from "hosts",
    "tests/plugin.rs" from "tests.rs",
];

/// Lets `HAPTIC_UPDATE_GOLDEN` write the golden folder.
const GOLDEN_MARK: &str = "tests/golden/.golden";

/// The files by their paths. `host` is how the host's command is called.
pub(super) fn files(name: &PluginName, origin: &Origin, host: &str) -> Vec<(&'static str, String)> {
    let parts = parts(origin);
    let fill = |text: &str| {
        let text = text
            .replace("my-plugin", &name.to_string())
            .replace("my_plugin", &name.crate_name())
            .replace("@HOST@", host);
        parts
            .iter()
            .fold(text, |text, (mark, part)| text.replace(mark, part))
    };
    let mut files: Vec<_> = TEMPLATE
        .iter()
        .map(|(path, text)| (*path, fill(text)))
        .collect();
    files.push((GOLDEN_MARK, String::new()));
    if let Origin::Checkout { lock, .. } = origin {
        files.push(("Cargo.lock", lock.clone()));
    }
    files
}

/// What stands for each mark.
fn parts(origin: &Origin) -> [(&'static str, String); 7] {
    match origin {
        Origin::Checkout { path, .. } => [
            ("@GUEST@", format!("{{ path = \"{path}/guest-sdk\" }}")),
            ("@HARNESS@", format!("{{ path = \"{path}/tests/harness\" }}")),
            (
                "@ALIKE@",
                format!(
                    "# Has `make test` take what the checkout has compiled; without it the tests work as well.\n\
                     haptic-alike = {{ path = \"{path}/tests/alike\" }}\n"
                ),
            ),
            (
                "@VARIABLES@",
                format!("# The checkout of haptic-host that the SDK is of.\nHAPTIC := {path}\n"),
            ),
            (
                "@BUILD@",
                "\t@\"$(HAPTIC)/scripts/guests.sh\" --manifest-path Cargo.toml\n".to_owned(),
            ),
            (
                "@TEST@",
                "\t@\"$(HAPTIC)/scripts/test-plugin.sh\"\n".to_owned(),
            ),
            (
                "@TOOLCHAIN@",
                format!(
                    "The SDK is that of a checkout of haptic-host, {path}: so say `Cargo.toml` and `Makefile`. Its\n\
                     scripts see to a WebAssembly toolchain, and `make test` takes what it has compiled; `cargo test`\n\
                     does the same and compiles everything anew."
                ),
            ),
        ],
        Origin::Published(version) => [
            ("@GUEST@", format!("\"{version}\"")),
            ("@HARNESS@", format!("\"{version}\"")),
            ("@ALIKE@", String::new()),
            ("@VARIABLES@", String::new()),
            (
                "@BUILD@",
                "\t@ls \"$$(rustc --print target-libdir --target wasm32-wasip2)\"/libstd-*.rlib >/dev/null 2>&1 \\\n\
                 \t  || rustup target add wasm32-wasip2\n\
                 \tcargo build --release --lib --target wasm32-wasip2 --target-dir target\n"
                    .to_owned(),
            ),
            ("@TEST@", "\tcargo test\n".to_owned()),
            (
                "@TOOLCHAIN@",
                "It takes Rust 1.95 with the target `wasm32-wasip2`, which `make build` adds with rustup if it is not\n\
                 there. The first `make test` compiles the host's own runtime and takes some minutes."
                    .to_owned(),
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn k4_every_mark_is_filled_and_every_name_is_the_plugins() {
        let origins = [
            Origin::Published("0.1.0".to_owned()),
            Origin::Checkout {
                path: "/src/haptic".to_owned(),
                lock: String::new(),
            },
        ];
        for origin in origins {
            let name = "acme-routes".parse().unwrap();
            for (path, text) in files(&name, &origin, "/bin/haptic-host") {
                for mark in ["@", "my-plugin", "my_plugin"] {
                    // Make's own: not to echo a line.
                    let text = text.replace("\t@", "\t");
                    assert!(
                        !text.contains(mark),
                        "{path} of {origin} has {mark}:\n{text}"
                    );
                }
            }
        }
    }
}
