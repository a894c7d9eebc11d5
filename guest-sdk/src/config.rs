//! The plugin's settings, as the operator wrote them.

use serde::de::DeserializeOwned;

use crate::settings::{Problems, Settings};
use crate::{json, sys};

/// The settings that the operator's configuration gives this plugin: JSON text, `{}` if it gives
/// none.
///
/// ```
/// use haptic_guest::Config;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
/// struct Settings {
///     http_port: u16,
/// }
/// impl Default for Settings {
///     fn default() -> Self {
///         Settings { http_port: 8080 }
///     }
/// }
///
/// let settings: Settings = Config::from_json("{}").parse()?;
/// assert_eq!(settings.http_port, 8080);
///
/// let wrong = Config::from_json(r#"{"httpPort": "80"}"#).parse::<Settings>();
/// assert_eq!(
///     wrong.err().map(|e| e.to_string()).as_deref(),
///     Some("settings: field `httpPort`: invalid type: string \"80\", expected u16"),
/// );
/// # Ok::<(), haptic_guest::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    json: String,
}

/// Settings that do not fit the plugin's type: the sentence names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("settings: {message}")]
pub struct ConfigError {
    message: String,
}

impl Config {
    /// The settings of the running plugin, asked from the host.
    ///
    /// Every callback that needs them is given them; this is for code that is not.
    pub fn get() -> Self {
        Config {
            json: sys::config(),
        }
    }

    /// Settings from JSON text, for tests.
    pub fn from_json(json: impl Into<String>) -> Self {
        Config { json: json.into() }
    }

    /// The JSON text.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The settings as a type. Use `#[serde(deny_unknown_fields)]` on it, so that an operator's
    /// typing mistake is an error and not a silence.
    ///
    /// # Errors
    /// When the settings do not fit; the sentence names the field. Return it from
    /// [`describe`](crate::Plugin::describe), where the operator sees it before anything starts.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        json::parse(&self.json).map_err(|message| ConfigError { message })
    }

    /// The settings as a type that checks itself: everything that is wrong, each with its place.
    ///
    /// # Errors
    /// As for [`parse`](Config::parse), and what [`Settings::check`] finds.
    pub fn settings<T: Settings>(&self) -> Result<T, ConfigError> {
        let settings: T = self.parse()?;
        let mut problems = Problems::default();
        settings.check(&mut problems);
        match problems.into_text() {
            None => Ok(settings),
            Some(message) => Err(ConfigError { message }),
        }
    }
}
