//! Finds what to log in with, where `docker login` keeps it: in the file, or behind a helper.
//! Owns no secret for longer than a pull.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use docker_credential::{CredentialRetrievalError as Error, DockerCredential};

use super::OciError;

/// Largest configuration file that is read: those of hundreds of registries have 100 KiB.
const MAX_CONFIG: u64 = 1 << 20;

/// How long a credential helper may take: it may ask a keychain, and nobody who is not there.
const HELPER: Duration = Duration::from_secs(20);

/// What to log in with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// Nothing: whoever asks may read.
    Anonymous,
    /// User and password, or user and access token.
    Password(String, String),
    /// A token that is exchanged for one that reads.
    Identity(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password(..) => "Password",
            Self::Identity(_) => "Identity",
        })
    }
}

/// What docker's configuration in `folder` has for a registry. A broken configuration is an
/// error: to go on as nobody would only end in a refusal that misleads.
pub(super) async fn find(folder: Option<&Path>, registry: &str) -> Result<Credential, OciError> {
    let Some(path) = folder.map(|folder| folder.join("config.json")) else {
        return Ok(Credential::Anonymous);
    };
    let broken = |reason: &str| OciError::Credentials {
        path: path.clone(),
        registry: registry.to_owned(),
        reason: reason.to_owned(),
    };
    let file = match File::open(&path) {
        Ok(file) => file.take(MAX_CONFIG),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Credential::Anonymous),
        Err(error) => return Err(broken(&error.to_string())),
    };
    let server = match registry {
        // As `docker login` calls it.
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
    .to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        docker_credential::get_credential_from_reader(file, &server)
    });
    let found = tokio::time::timeout(HELPER, asked)
        .await
        .map_err(|_| broken("the credential helper does not answer"))?
        .map_err(|_| broken("the credential helper failed"))?;
    match found {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Credential::Password(user, password))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Credential::Identity(token)),
        Err(Error::NoCredentialConfigured) => Ok(Credential::Anonymous),
        // What docker's own helpers say when they have none.
        Err(Error::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {
            Ok(Credential::Anonymous)
        }
        // Its output may hold what it was asked for.
        Err(Error::HelperFailure { helper, .. }) => Err(broken(&format!("{helper} failed"))),
        Err(Error::ConfigReadError) => Err(broken("it is no JSON of docker's form")),
        Err(
            error @ (Error::HelperCommunicationError
            | Error::MalformedHelperResponse
            | Error::CredentialDecodingError
            | Error::CredentialMismatchError
            | Error::ConfigNotFound),
        ) => Err(broken(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    async fn found(config: Option<&str>, registry: &str) -> Result<Credential, String> {
        let dir = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            std::fs::write(dir.path().join("config.json"), config).unwrap();
        }
        find(Some(dir.path()), registry)
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn credentials_are_those_of_docker_login() {
        // me:secret
        let config = r#"{"auths": {
            "registry.example": {"auth": "bWU6c2VjcmV0"},
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"},
            "localhost:5000": {"username": "you", "password": "p:w"},
            "acr.example": {"auth": "bWU6", "identitytoken": "refresh"}
        }}"#;
        let password =
            |user: &str, word: &str| Credential::Password(user.to_owned(), word.to_owned());
        for (registry, expected) in [
            ("registry.example", password("me", "secret")),
            ("docker.io", password("me", "secret")),
            ("localhost:5000", password("you", "p:w")),
            ("acr.example", Credential::Identity("refresh".to_owned())),
            ("quay.io", Credential::Anonymous),
            ("localhost:5001", Credential::Anonymous),
        ] {
            assert_eq!(found(Some(config), registry).await.unwrap(), expected);
        }
        let none = found(None, "registry.example").await.unwrap();
        assert_eq!(none, Credential::Anonymous);
        assert_eq!(find(None, "x").await.unwrap(), Credential::Anonymous);
    }

    #[tokio::test]
    async fn a_broken_configuration_is_an_error_and_not_nobody() {
        for (config, sentence) in [
            ("{", "it is no JSON"),
            (r#"{"auths": {"r": {"auth": "%%%"}}}"#, "decode"),
            (r#"{"credHelpers": {"r": "none-of-this-name"}}"#, "helper"),
        ] {
            let error = found(Some(config), "r").await.unwrap_err();
            assert!(error.contains(sentence), "{config}: {error}");
            assert!(error.contains("config.json"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!(
            "{:?} {:?}",
            Credential::Password("me".to_owned(), "secret".to_owned()),
            Credential::Identity("secret".to_owned())
        );
        assert_eq!(shown, "Password Identity");
    }
}
