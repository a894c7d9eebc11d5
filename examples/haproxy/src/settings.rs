//! What the operator sets: in the plugin's settings, once, and in a ConfigMap, while it runs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use haptic_guest::{Config, Error};
use serde::Deserialize;

use crate::names::Name;

/// The plugin's settings in the host's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Only Ingresses of this class.
    pub ingress_class: String,
    /// Where the ports are bound; everywhere by default.
    pub address: Option<IpAddr>,
    /// Port for HTTP.
    pub http_port: NonZeroU16,
    /// Port for HTTPS; it is bound when there is a certificate.
    pub https_port: NonZeroU16,
    /// Connections at a time, unless the ConfigMap says otherwise.
    pub maxconn: NonZeroU32,
    /// Path of haproxy's admin socket, over which another haproxy may take the listeners over; none
    /// by default.
    pub stats_socket: Option<String>,
    /// The ConfigMap to tune from.
    pub config_map: ConfigMapRef,
}

/// Names a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ingress_class: "haproxy".to_owned(),
            address: None,
            http_port: port(8080),
            https_port: port(8443),
            maxconn: NonZeroU32::MIN.saturating_add(1999),
            stats_socket: None,
            config_map: ConfigMapRef {
                namespace: "haproxy".to_owned(),
                name: "haproxy-settings".to_owned(),
            },
        }
    }
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

impl Settings {
    /// The settings, checked.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        let settings: Settings = config.parse()?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Error> {
        for (setting, value) in [
            ("ingressClass", &self.ingress_class),
            ("configMap.namespace", &self.config_map.namespace),
            ("configMap.name", &self.config_map.name),
        ] {
            if Name::parse(value).is_none() {
                return Err(Error::new(format!(
                    "settings: `{setting}` is {value:?}, which is no Kubernetes name"
                )));
            }
        }
        if self.http_port == self.https_port {
            return Err(Error::new(format!(
                "settings: `httpPort` and `httpsPort` are both {}",
                self.http_port
            )));
        }
        match &self.stats_socket {
            Some(path) if !is_plain_path(path) => Err(Error::new(format!(
                "settings: `statsSocket` is {path:?}; it must be an absolute path of letters, \
                 digits and `/._-`"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

/// What the ConfigMap tunes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// `maxconn`
    pub maxconn: u32,
    /// `timeout-connect`
    pub timeout_connect: String,
    /// `timeout-client`
    pub timeout_client: String,
    /// `timeout-server`
    pub timeout_server: String,
}

impl Tuning {
    /// The ConfigMap's values over the defaults. A value that haproxy would not take, or a key that
    /// nobody reads, is left out and reported as a sentence.
    pub fn new(settings: &Settings, data: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let mut tuning = Tuning {
            maxconn: settings.maxconn.get(),
            timeout_connect: "5s".to_owned(),
            timeout_client: "30s".to_owned(),
            timeout_server: "30s".to_owned(),
        };
        let mut complaints = Vec::new();
        for (key, value) in data {
            let timeout = match key.as_str() {
                "maxconn" => {
                    match value.parse::<NonZeroU32>() {
                        Ok(maxconn) => tuning.maxconn = maxconn.get(),
                        Err(_) => complaints.push(format!(
                            "`maxconn` is {value:?}, which is no positive number"
                        )),
                    }
                    continue;
                }
                "timeout-connect" => &mut tuning.timeout_connect,
                "timeout-client" => &mut tuning.timeout_client,
                "timeout-server" => &mut tuning.timeout_server,
                unknown => {
                    complaints.push(format!("`{unknown}` is no setting of this plugin"));
                    continue;
                }
            };
            if is_duration(value) {
                value.clone_into(timeout);
            } else {
                complaints.push(format!(
                    "`{key}` is {value:?}, which is no time such as 30s or 500ms"
                ));
            }
        }
        (tuning, complaints)
    }
}

/// haproxy's times: a number with a unit. It takes at most 2^31 ms.
fn is_duration(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let scale: u64 = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return false,
    };
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(scale))
            .is_some_and(|ms| (1..1 << 31).contains(&ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn refusal(json: &str) -> String {
        Settings::from_config(&Config::from_json(json))
            .unwrap_err()
            .into_message()
    }

    #[test]
    fn no_settings_are_the_defaults() {
        let settings = Settings::from_config(&Config::from_json("{}")).unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(
            (
                settings.http_port.get(),
                settings.https_port.get(),
                settings.maxconn.get()
            ),
            (8080, 8443, 2000)
        );
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (json, expected) in [
            (
                r#"{"httpPort": 0}"#,
                "settings: field `httpPort`: invalid value: integer `0`, expected a nonzero u16",
            ),
            (r#"{"httpprt": 80}"#, "unknown field `httpprt`"),
            (
                r#"{"httpPort": 8443}"#,
                "settings: `httpPort` and `httpsPort` are both 8443",
            ),
            (
                r#"{"ingressClass": "a b"}"#,
                "settings: `ingressClass` is \"a b\", which is no Kubernetes name",
            ),
            (
                r#"{"configMap": {"namespace": "x"}}"#,
                "settings: field `configMap`: missing field `name`",
            ),
            (
                r#"{"statsSocket": "/run/x\n bind :1"}"#,
                "settings: `statsSocket` is",
            ),
            (r#"{"statsSocket": "run"}"#, "settings: `statsSocket` is"),
            (
                r#"{"address": "localhost"}"#,
                "settings: field `address`: invalid IP address syntax",
            ),
        ] {
            let refusal = refusal(json);
            assert!(refusal.contains(expected), "{json}: {refusal}");
        }
    }

    #[test]
    fn the_config_map_tunes_and_cannot_inject() {
        let data = BTreeMap::from(
            [
                ("maxconn", "10"),
                ("timeout-client", "1h"),
                ("timeout-server", "5s\n    stats enable"),
                ("timeout-connect", "9999999999h"),
                ("tune", "x"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let (tuning, complaints) = Tuning::new(&Settings::default(), &data);
        assert_eq!(
            tuning,
            Tuning {
                maxconn: 10,
                timeout_connect: "5s".to_owned(),
                timeout_client: "1h".to_owned(),
                timeout_server: "30s".to_owned(),
            }
        );
        assert_eq!(
            complaints,
            [
                "`timeout-connect` is \"9999999999h\", which is no time such as 30s or 500ms",
                "`timeout-server` is \"5s\\n    stats enable\", which is no time such as 30s or 500ms",
                "`tune` is no setting of this plugin",
            ]
        );
    }
}
