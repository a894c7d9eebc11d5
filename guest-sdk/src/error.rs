//! The error that a callback returns.

use std::fmt::{self, Debug, Display};

/// Why a callback failed, as one text.
///
/// `?` turns anything that can be displayed into it: [`StoreError`](crate::StoreError), any
/// `std::error::Error`, a `&str`, a `String`. It is no `std::error::Error` itself, which is what
/// makes that possible. Only the text of the error itself is taken, not the texts of its sources;
/// say more with [`Error::context`].
///
/// ```
/// # use haptic_guest::Error;
/// fn port(text: &str) -> Result<u16, Error> {
///     let port: u16 = text.parse().map_err(|e| Error::from(e).context(format!("port {text:?}")))?;
///     if port == 0 {
///         Err("port 0 cannot be bound")?;
///     }
///     Ok(port)
/// }
/// assert_eq!(port("http").unwrap_err().message(), "port \"http\": invalid digit found in string");
/// assert_eq!(port("0").unwrap_err().message(), "port 0 cannot be bound");
/// ```
pub struct Error {
    message: String,
}

impl Error {
    /// An error with this text.
    pub fn new(message: impl Display) -> Self {
        Error {
            message: message.to_string(),
        }
    }

    /// The same error, with what was being done in front: `context: message`.
    #[must_use]
    pub fn context(self, context: impl Display) -> Self {
        Error {
            message: format!("{context}: {}", self.message),
        }
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text, owned.
    pub fn into_message(self) -> String {
        self.message
    }
}

impl<E: Display> From<E> for Error {
    fn from(error: E) -> Self {
        Error::new(error)
    }
}

impl Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
