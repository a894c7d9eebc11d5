//! Plugins from registries, against a registry on loopback that also misbehaves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod registry;
#[path = "../support/mod.rs"]
mod support;

use std::{path::Path, time::Duration};

use haptic_host::oci::{Digest, OciError, Patience, PullOptions, Pulled, Reference, pull};
use serde_json::json;
use tempfile::TempDir;

use crate::registry::{Login, Registry, Trouble, manifest};

const COMPONENT: &[u8] =
    b"\0asm\x0d\0\x01\0 and so on: what is in it is not the registry's concern";

/// Enough for a loaded machine where an answer comes, and soon over where none does.
fn options(cache: Option<&TempDir>) -> PullOptions {
    PullOptions {
        cache_dir: cache.map(|dir| dir.path().to_owned()),
        patience: Patience {
            pause: Duration::from_millis(1),
            ..Patience::default()
        },
        ..PullOptions::default()
    }
}

fn reference(registry: &Registry, rest: &str) -> Reference {
    format!("oci://{}/{rest}", registry.address)
        .parse()
        .unwrap()
}

async fn pulled(registry: &Registry, rest: &str) -> Result<Pulled, OciError> {
    pull(&reference(registry, rest), &options(None)).await
}

async fn refused(registry: &Registry, rest: &str) -> String {
    pulled(registry, rest).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_tag_and_a_digest_lead_to_the_same_component() {
    let registry = Registry::start().await;
    let digest = registry.push_component("acme/render", "1.2", COMPONENT);
    for rest in [
        "acme/render:1.2".to_owned(),
        format!("acme/render@{digest}"),
        format!("acme/render:1.2@{digest}"),
        // The digest counts, the tag is for people.
        format!("acme/render:gone@{digest}"),
    ] {
        let found = pulled(&registry, &rest).await.unwrap();
        assert_eq!(found.bytes, COMPONENT, "{rest}");
        assert_eq!(found.reference.digest(), Some(digest), "{rest}");
    }
}

#[tokio::test]
async fn an_index_leads_to_its_manifest_for_wasm() {
    let registry = Registry::start().await;
    let inner = manifest(&[("application/vnd.wasm.content.layer.v1+wasm", COMPONENT)]);
    registry.push("r", "inner", &inner, &[COMPONENT]);
    let entry = |os: &str, architecture: &str, digest: Digest| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(),
               "size": 1, "platform": {"os": os, "architecture": architecture}})
    };
    let index = json!({"schemaVersion": 2, "manifests": [
        entry("linux", "amd64", Digest::of(b"an image")),
        entry("wasip2", "wasm", Digest::of(&inner)),
    ]});
    let index = index.to_string().into_bytes();
    let digest = registry.push("r", "1", &index, &[]);
    let found = pulled(&registry, "r:1").await.unwrap();
    assert_eq!(found.bytes, COMPONENT);
    assert_eq!(found.reference.digest(), Some(digest), "that of the index");
}

#[tokio::test]
async fn what_is_in_the_cache_is_not_asked_for_and_not_trusted() {
    let registry = Registry::start().await;
    let digest = registry.push_component("r", "1", COMPONENT);
    let cache = tempfile::tempdir().unwrap();
    let pinned = reference(&registry, &format!("r@{digest}"));
    let tagged = reference(&registry, "r:1");
    pull(&pinned, &options(Some(&cache))).await.unwrap();
    assert_eq!(registry.asked().len(), 2, "a manifest and a blob");
    pull(&pinned, &options(Some(&cache))).await.unwrap();
    assert_eq!(registry.asked(), [""; 0], "all of it is here");
    pull(&tagged, &options(Some(&cache))).await.unwrap();
    assert_eq!(
        registry.asked(),
        ["GET /v2/r/manifests/1"],
        "a tag may have moved"
    );
    // Somebody writes into the cache.
    for entry in std::fs::read_dir(cache.path()).unwrap() {
        std::fs::write(entry.unwrap().path(), b"\0asm\x0d\0\x01\0 evil").unwrap();
    }
    let found = pull(&pinned, &options(Some(&cache))).await.unwrap();
    assert_eq!(found.bytes, COMPONENT);
    assert_eq!(registry.asked().len(), 2, "both are fetched again");
}

#[tokio::test]
async fn bytes_that_the_digest_does_not_name_are_refused_and_not_kept() {
    let other = manifest(&[("application/wasm", b"\0asm other")]);
    for (word, bytes, what) in [
        ("manifests", other, "the manifest"),
        (
            "blobs",
            COMPONENT.iter().rev().copied().collect(),
            "the component",
        ),
    ] {
        let registry = Registry::start().await;
        let digest = registry.push_component("r", "1", COMPONENT);
        registry.trouble(word, Trouble::Bytes(bytes));
        let cache = tempfile::tempdir().unwrap();
        let pinned = reference(&registry, &format!("r@{digest}"));
        let error = pull(&pinned, &options(Some(&cache))).await.unwrap_err();
        assert!(error.is_registrys());
        let error = error.to_string();
        let sentence = format!("{what} of {pinned} is not what its digest says");
        assert!(error.starts_with(&sentence), "{error}");
        let kept = std::fs::read_dir(cache.path()).unwrap().count();
        assert_eq!(kept, usize::from(what == "the component"), "{what}");
    }
}

#[tokio::test]
async fn what_has_no_end_is_cut_off() {
    for (word, sentence) in [
        ("manifests", "the manifest of "),
        ("blobs", "the component of "),
    ] {
        let registry = Registry::start().await;
        registry.push_component("r", "1", COMPONENT);
        registry.trouble(word, Trouble::Endless);
        let error = refused(&registry, "r:1").await;
        assert!(error.starts_with(sentence), "{error}");
        assert!(error.contains("is larger than"), "{error}");
    }
    // A refusal and a token without end are read as far as they are shown.
    let registry = Registry::start().await;
    registry.trouble("manifests", Trouble::Status(403, "no"));
    let error = refused(&registry, "r:1").await;
    assert!(error.contains("(403): no"), "{error}");
}

#[tokio::test]
async fn a_component_that_is_announced_too_large_is_not_fetched() {
    let registry = Registry::start().await;
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&manifest(&[("application/wasm", COMPONENT)])).unwrap();
    manifest["layers"][0]["size"] = json!((256_u64 << 20) + 1);
    registry.push("r", "1", manifest.to_string().as_bytes(), &[COMPONENT]);
    let error = pulled(&registry, "r:1").await.unwrap_err();
    assert!(!error.is_registrys());
    assert!(error.to_string().contains("is larger than 268435456 bytes"));
    assert_eq!(registry.asked(), ["GET /v2/r/manifests/1"]);
}

#[tokio::test]
async fn half_a_component_is_none() {
    let expected = COMPONENT.len();
    for (trouble, sentence) in [
        (
            Trouble::Short,
            format!("ends after {} of {expected} bytes", expected / 2),
        ),
        (Trouble::CutOff, "the component broke off".to_owned()),
    ] {
        let registry = Registry::start().await;
        registry.push_component("r", "1", COMPONENT);
        registry.trouble("blobs", trouble);
        let error = refused(&registry, "r:1").await;
        assert!(error.contains(&sentence), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_stalls_is_given_up() {
    for (trouble, sentence) in [
        (Trouble::Stall, "nothing came within"),
        (Trouble::StallHalfway, "nothing more came within"),
    ] {
        let registry = Registry::start().await;
        registry.push_component("r", "1", COMPONENT);
        registry.trouble("blobs", trouble);
        let mut options = options(None);
        // Long enough for the manifest on a loaded machine.
        options.patience.answer = Duration::from_secs(2);
        options.patience.silence = Duration::from_secs(2);
        let reference = reference(&registry, "r:1");
        let error = pull(&reference, &options).await.unwrap_err();
        assert!(error.is_registrys());
        assert!(error.to_string().contains(sentence), "{error}");
        options.patience = Patience {
            total: Duration::from_millis(300),
            ..Patience::default()
        };
        let error = pull(&reference, &options).await.unwrap_err();
        assert!(
            error.to_string().contains("it was not all here within"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_moment_of_trouble_is_waited_for_and_more_is_an_error() {
    let registry = Registry::start().await;
    registry.push_component("r", "1", COMPONENT);
    registry.trouble("manifests", Trouble::Times(2, 503));
    registry.trouble("blobs", Trouble::Times(2, 429));
    assert_eq!(pulled(&registry, "r:1").await.unwrap().bytes, COMPONENT);
    assert_eq!(registry.asked().len(), 6);
    registry.trouble("manifests", Trouble::Times(3, 500));
    let error = pulled(&registry, "r:1").await.unwrap_err();
    assert!(error.is_registrys());
    assert_eq!(
        error.to_string(),
        format!("registry {} answers 500: in a moment", registry.address)
    );
    // What asking again does not change is asked once.
    registry.asked();
    registry.trouble("manifests", Trouble::Status(400, "no"));
    assert!(refused(&registry, "r:1").await.ends_with("answers 400: no"));
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_no_component_are_mistakes_of_the_user() {
    let registry = Registry::start().await;
    registry.push_component("r", "1", COMPONENT);
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    registry.push("image", "1", &manifest(&[(tar, b"tar")]), &[b"tar"]);
    registry.push("text", "1", b"<html>", &[]);
    for (rest, sentence) in [
        ("r:2", "r:2: manifest unknown"),
        ("nothing:1", "nothing:1: manifest unknown"),
        (
            "image:1",
            "is no WebAssembly artifact: its layers are \"application/vnd.oci.image.layer",
        ),
        ("text:1", "has no manifest that can be read"),
    ] {
        let error = pulled(&registry, rest).await.unwrap_err();
        assert!(!error.is_registrys(), "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_without_credentials_and_never_for_ever() {
    let store = Registry::start().await;
    store.push_component("r", "1", COMPONENT);
    let to = |path: &str| format!("http://{}{path}", store.address);
    let blob = format!("/v2/r/blobs/{}", Digest::of(COMPONENT));
    let registry = Registry::start_with(Login::Basic("me:secret")).await;
    registry.push_component("r", "1", COMPONENT);
    registry.trouble("blobs", Trouble::Redirect(to(&blob)));
    let home = login("me", "secret", &registry);
    let mut options = options(None);
    options.docker_config = Some(home.path().to_owned());
    let tagged = reference(&registry, "r:1");
    assert_eq!(pull(&tagged, &options).await.unwrap().bytes, COMPONENT);
    assert_eq!(store.asked(), [format!("GET {blob}")]);
    assert_eq!(store.trusted(), [""; 0], "the store is another's");

    for (to, sentence) in [
        (
            "http://registry.invalid/x".to_owned(),
            "plain HTTP is for this machine",
        ),
        ("ftp://127.0.0.1/x".to_owned(), "no address of the web"),
        (
            format!("http://me:pw@{}/x", store.address),
            "there is a user in it",
        ),
        ("../x".to_owned(), "that is no address"),
        (
            "/v2/r/blobs/again?signature=secret".to_owned(),
            "again and again",
        ),
    ] {
        let registry = Registry::start().await;
        registry.push_component("r", "1", COMPONENT);
        registry.push("r", "2", b"{}", &[]);
        registry.trouble("blobs", Trouble::Redirect(to.clone()));
        registry.trouble("again", Trouble::Redirect(to.clone()));
        let error = refused(&registry, "r:1").await;
        if to.contains("again") {
            // It leads to what is not there, and there it ends.
            assert!(
                error.contains(sentence) || error.contains("manifest unknown"),
                "{error}"
            );
        } else {
            assert!(error.contains(sentence), "{to}: {error}");
        }
        assert!(!error.contains("secret"), "{error}");
    }
    let circle = Registry::start().await;
    circle.push_component("r", "1", COMPONENT);
    circle.trouble(
        "blobs",
        Trouble::Redirect(format!("http://{}{blob}", circle.address)),
    );
    let error = refused(&circle, "r:1").await;
    assert!(error.contains("again and again"), "{error}");
    assert_eq!(
        circle.asked().len(),
        7,
        "a manifest, and six times the same"
    );
}

/// What `docker login` leaves behind.
fn login(user: &str, password: &str, registry: &Registry) -> TempDir {
    let auths = json!({"auths": {registry.address.to_string(): {"auth": encoded(user, password)}}});
    folder(&auths.to_string())
}

fn encoded(user: &str, password: &str) -> String {
    let header = registry::basic(&format!("{user}:{password}"));
    header.trim_start_matches("Basic ").to_owned()
}

fn folder(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    dir
}

async fn pulled_as(registry: &Registry, home: Option<&Path>) -> Result<Pulled, OciError> {
    let mut options = options(None);
    options.docker_config = home.map(Path::to_owned);
    pull(&reference(registry, "r:1"), &options).await
}

#[tokio::test]
async fn credentials_are_those_of_docker_login_and_are_sent_where_they_are_asked_for() {
    let bearer = |buys| Login::Bearer {
        buys,
        realm: None,
        token: "token-1",
    };
    for wanted in [Login::Basic("me:secret"), bearer("me:secret")] {
        let registry = Registry::start_with(wanted.clone()).await;
        registry.push_component("r", "1", COMPONENT);
        let (right, wrong) = (
            login("me", "secret", &registry),
            login("me", "other", &registry),
        );
        let found = pulled_as(&registry, Some(right.path())).await.unwrap();
        assert_eq!(found.bytes, COMPONENT, "{wanted:?}");
        let denied = pulled_as(&registry, Some(wrong.path())).await.unwrap_err();
        assert!(denied.is_registrys());
        let denied = denied.to_string();
        assert!(denied.contains("(401)"), "{denied}");
        assert!(denied.contains("are not enough"), "{denied}");
        assert!(!denied.contains("other"), "{denied}");
        let nobody = pulled_as(&registry, None).await.unwrap_err().to_string();
        assert!(nobody.contains("no credentials for it"), "{nobody}");
    }
    // Anybody may have a token, and a refresh token buys one.
    let public = Registry::start_with(bearer("")).await;
    public.push_component("r", "1", COMPONENT);
    assert!(pulled_as(&public, None).await.is_ok());
    let refreshed = Registry::start_with(bearer("refresh")).await;
    refreshed.push_component("r", "1", COMPONENT);
    let auths = json!({"auths": {refreshed.address.to_string(): {"auth": encoded("x", ""), "identitytoken": "refresh"}}});
    let home = folder(&auths.to_string());
    let found = pulled_as(&refreshed, Some(home.path())).await.unwrap();
    assert_eq!(found.bytes, COMPONENT);
}

#[tokio::test]
async fn credentials_never_go_out_in_the_clear_and_a_token_cannot_forge_a_header() {
    let login = |realm: Option<&str>, token| Login::Bearer {
        buys: "me:secret",
        realm: realm.map(str::to_owned),
        token,
    };
    for (wanted, sentence) in [
        (
            login(Some("http://registry.invalid/token"), "x"),
            "without TLS",
        ),
        (login(Some("nowhere"), "x"), "it is no address"),
        (
            login(None, "a\r\nx-evil: 1"),
            "characters that no header takes",
        ),
        (login(None, ""), "has no token"),
    ] {
        let registry = Registry::start_with(wanted).await;
        registry.push_component("r", "1", COMPONENT);
        let home = self::login("me", "secret", &registry);
        let error = pulled_as(&registry, Some(home.path())).await.unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn who_is_not_there_cannot_be_reached_and_plain_http_is_for_loopback() {
    let nobody: Reference = "oci://127.0.0.1:1/r:1".parse().unwrap();
    let error = pull(&nobody, &options(None)).await.unwrap_err();
    assert!(error.is_registrys());
    let error = error.to_string();
    assert!(
        error.starts_with("registry 127.0.0.1:1 cannot be reached"),
        "{error}"
    );
    // This machine by an address that is not loopback's: TLS, unless it is named.
    let registry = Registry::start().await;
    registry.push_component("r", "1", COMPONENT);
    let authority = format!("0.0.0.0:{}", registry.address.port());
    let elsewhere: Reference = format!("oci://{authority}/r:1").parse().unwrap();
    let error = pull(&elsewhere, &options(None)).await.unwrap_err();
    let advice = format!("if it speaks plain HTTP: --plain-http {authority}");
    assert!(error.to_string().ends_with(&advice), "{error}");
    let mut plain = options(None);
    plain.plain_http = vec![authority];
    assert_eq!(pull(&elsewhere, &plain).await.unwrap().bytes, COMPONENT);
    // A name that is not loopback's is spoken to with TLS, whatever it resolves to.
    let unknown: Reference = "oci://registry.invalid/r:1".parse().unwrap();
    let error = pull(&unknown, &options(None)).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}
