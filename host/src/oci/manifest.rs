//! Owns what the manifest of an artifact says: which layer is the component, how large it is and
//! what its digest is. Reads text; fetches nothing.

use serde::Deserialize;

use super::{Digest, OciError, Reference};
use crate::chain::printable;

/// Manifests that are asked for: of one artifact, or of several that it is an index of.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Largest component, in bytes: as much as is read from a file. Python's are 19 MB.
pub(super) const MAX_LAYER: u64 = 256 << 20;

/// Media types of layers that are WebAssembly: that of the CNCF's artifacts, and those that were
/// in use before it.
const WASM: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// Names of media types that are repeated in an error: enough to recognise the artifact.
const NAMED: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// What a manifest leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// The component.
    Layer(Blob),
    /// Another manifest, whose digest this is.
    Manifest(Digest),
}

/// Bytes to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Reads a manifest. `nested`: it is one of an index, and may not be another index.
pub(super) fn read(reference: &Reference, text: &[u8], nested: bool) -> Result<Leads, OciError> {
    let broken = |reason: String| OciError::Manifest {
        reference: Box::new(reference.clone()),
        reason: printable(&reason),
    };
    let document: Document =
        serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
    if document.schema_version != 2 {
        return Err(broken(format!(
            "it has schema version {}, and only 2 is known",
            document.schema_version
        )));
    }
    let digest = |descriptor: &Descriptor| {
        let parsed = descriptor.digest.parse();
        parsed.map_err(|error: super::ReferenceError| broken(error.to_string()))
    };
    let not_wasm = |reason: String| OciError::NotWasm {
        reference: Box::new(reference.clone()),
        reason: printable(&reason),
    };
    match (document.layers, document.manifests) {
        (Some(layers), _) => {
            let mut wasm = layers
                .iter()
                .filter(|layer| WASM.contains(&layer.media_type.as_str()));
            let found = wasm.next().ok_or_else(|| {
                let types = layers.iter().map(|layer| layer.media_type.as_str());
                not_wasm(match layers.len() {
                    0 => "it has no layers".to_owned(),
                    _ => format!("its layers are {}", named(types)),
                })
            })?;
            if wasm.next().is_some() {
                return Err(not_wasm(
                    "it has several WebAssembly layers, and a plugin is one component".to_owned(),
                ));
            }
            if found.size > MAX_LAYER {
                return Err(OciError::TooLarge {
                    what: "the component",
                    reference: Box::new(reference.clone()),
                    limit: MAX_LAYER,
                });
            }
            Ok(Leads::Layer(Blob {
                digest: digest(found)?,
                size: found.size,
            }))
        }
        (None, Some(_)) if nested => {
            Err(broken("it is an index that leads to an index".to_owned()))
        }
        (None, Some(manifests)) => {
            let found = manifests
                .iter()
                .find(|entry| entry.is_wasm())
                .or(match manifests.as_slice() {
                    // One that does not say what it is: its layers will.
                    [only] if only.platform.is_none() => Some(only),
                    _ => None,
                })
                .ok_or_else(|| {
                    let platforms = manifests.iter().filter_map(|entry| entry.platform.as_ref());
                    let names: Vec<String> = platforms
                        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                        .collect();
                    not_wasm(match names.len() {
                        0 => "none of its manifests is for wasm".to_owned(),
                        _ => format!("it is for {}", named(names.iter().map(String::as_str))),
                    })
                })?;
            digest(found).map(Leads::Manifest)
        }
        (None, None) => Err(broken("it has neither layers nor manifests".to_owned())),
    }
}

impl Descriptor {
    fn is_wasm(&self) -> bool {
        let architecture = self.platform.as_ref().map(|p| p.architecture.as_str());
        architecture == Some("wasm")
            || self
                .artifact_type
                .as_deref()
                .is_some_and(|kind| WASM.contains(&kind) || kind.contains("wasm"))
    }
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = Vec::new();
    let mut more = 0;
    for name in names {
        match known.contains(&name) {
            true => {}
            false if known.len() < NAMED => known.push(name),
            false => more += 1,
        }
    }
    let list: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
    match more {
        0 => list.join(", "),
        more => format!("{} and {more} more", list.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::{Value, json};

    use super::*;

    fn digest() -> String {
        Digest::of(b"x").to_string()
    }

    fn layer(kind: &str) -> Value {
        json!({"mediaType": kind, "digest": digest(), "size": 7})
    }

    fn read(manifest: &Value) -> Result<Leads, String> {
        let reference = "oci://r.example/a:1".parse().unwrap();
        super::read(&reference, manifest.to_string().as_bytes(), false)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_component_is_the_one_layer_that_is_wasm() {
        let blob = Leads::Layer(Blob {
            digest: Digest::of(b"x"),
            size: 7,
        });
        for layers in [
            json!([layer("application/wasm")]),
            json!([layer("application/vnd.wasm.content.layer.v1+wasm")]),
            // A signature or a description may stand beside it.
            json!([layer("text/markdown"), layer("application/wasm")]),
        ] {
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest(), "size": 2},
                "layers": layers,
            });
            assert_eq!(read(&manifest).unwrap(), blob);
        }
    }

    #[test]
    fn of_an_index_the_manifest_for_wasm_is_taken() {
        let entry = |os: &str, architecture: &str, of: &[u8]| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::of(of).to_string(), "size": 7,
                "platform": {"os": os, "architecture": architecture},
            })
        };
        let index = |entries: Value| json!({"schemaVersion": 2, "manifests": entries});
        let found = read(&index(json!([
            entry("linux", "amd64", b"a"),
            entry("wasip2", "wasm", b"b")
        ])));
        assert_eq!(found.unwrap(), Leads::Manifest(Digest::of(b"b")));
        let only = json!([{"digest": digest(), "size": 7}]);
        assert_eq!(
            read(&index(only)).unwrap(),
            Leads::Manifest(Digest::of(b"x"))
        );
        let image = read(&index(json!([
            entry("linux", "amd64", b"a"),
            entry("linux", "arm64", b"b")
        ])));
        let error = image.unwrap_err();
        assert!(
            error.contains("it is for \"linux/amd64\", \"linux/arm64\""),
            "{error}"
        );
        let reference = "oci://r.example/a:1".parse().unwrap();
        let nested = index(json!([entry("wasip2", "wasm", b"b")])).to_string();
        assert!(super::read(&reference, nested.as_bytes(), true).is_err());
    }

    #[test]
    fn what_is_no_component_is_refused_with_what_it_is() {
        let manifest = |layers: Value| json!({"schemaVersion": 2, "layers": layers});
        let mut vast = layer("application/wasm");
        vast["size"] = json!(MAX_LAYER + 1);
        let mut odd = layer("application/wasm");
        odd["digest"] = json!("sha512:ab");
        let mut negative = layer("application/wasm");
        negative["size"] = json!(-1);
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (manifest, sentence) in [
            (manifest(json!([])), "it has no layers"),
            (
                manifest(json!([layer(tar), layer(tar)])),
                "its layers are \"application/vnd.oci.image",
            ),
            (
                manifest(json!([
                    layer("application/wasm"),
                    layer("application/wasm")
                ])),
                "several WebAssembly layers",
            ),
            (manifest(json!([vast])), "larger than 268435456 bytes"),
            (manifest(json!([odd])), "is no digest"),
            (manifest(json!([negative])), "no manifest that can be read"),
            (
                json!({"schemaVersion": 1, "layers": []}),
                "schema version 1",
            ),
            (json!({"schemaVersion": 2}), "neither layers nor manifests"),
            (json!({"errors": []}), "no manifest that can be read"),
            (json!("\u{1b}[31m"), "no manifest that can be read"),
        ] {
            let error = read(&manifest).unwrap_err();
            assert!(error.contains(sentence), "{manifest}: {error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
    }
}
