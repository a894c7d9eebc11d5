//! Settings that check themselves, beyond what their type says.
//!
//! ```
//! use haptic_guest::{Config, Settings, settings::Problems};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
//! struct Ports {
//!     http_port: u16,
//!     https_port: u16,
//! }
//!
//! impl Default for Ports {
//!     fn default() -> Self {
//!         Ports { http_port: 80, https_port: 443 }
//!     }
//! }
//!
//! impl Settings for Ports {
//!     fn check(&self, problems: &mut Problems) {
//!         problems.check(self.http_port != 0, "httpPort", "0 is no port to listen on");
//!         problems.check(self.http_port != self.https_port, "httpsPort", "is httpPort as well");
//!     }
//! }
//!
//! let wrong = Config::from_json(r#"{"httpPort": 0, "httpsPort": 0}"#).settings::<Ports>();
//! assert_eq!(
//!     wrong.err().map(|error| error.to_string()).as_deref(),
//!     Some("settings: field `httpPort`: 0 is no port to listen on; field `httpsPort`: is httpPort as well"),
//! );
//! ```
//!
//! Ask for them in [`describe`](crate::Plugin::describe): then what is wrong refuses the plugin
//! before anything starts, and the operator sees the sentence.

use std::fmt::Display;

use serde::de::DeserializeOwned;

/// A type of settings. Read it with [`Config::settings`](crate::Config::settings).
pub trait Settings: DeserializeOwned {
    /// Adds everything that is wrong and that the type cannot say. The default finds nothing.
    fn check(&self, problems: &mut Problems) {
        let _ = problems;
    }
}

/// What is wrong with settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// A problem of this field, written as in the operator's file: `tls.names[2]`.
    pub fn add(&mut self, field: impl Display, why: impl Display) {
        self.0.push(format!("field `{field}`: {why}"));
    }

    /// The same, unless `is_right`.
    pub fn check(&mut self, is_right: bool, field: impl Display, why: impl Display) {
        if !is_right {
            self.add(field, why);
        }
    }

    pub(crate) fn into_text(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}
