//! Outputs: what a plugin renders.
//!
//! Writes are gathered while a callback runs. They are committed, all of them, when it returns
//! `Ok`, and dropped, all of them, when it returns an error or panics. Writing a name again in the
//! same callback replaces its content. A name that a later callback does not write stays as it was
//! committed.
//!
//! ```
//! # fn render() -> Result<(), haptic_guest::Error> {
//! haptic_guest::output::write("haproxy.cfg", "global\n")?;
//! # Ok(())
//! # }
//! ```

use crate::sys;

/// Why an output was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The name is empty, absolute, or leaves the output directory; the text says which.
    #[error("invalid output name: {0}")]
    InvalidName(String),
    /// The outputs of this callback would be larger than this many bytes together.
    #[error("the outputs of one callback may not be larger than {0} bytes")]
    TooLarge(u64),
    /// Anything else; the text is a sentence.
    #[error("{0}")]
    Other(String),
}

/// Writes a text output. `name` is a relative path with `/` between its parts, such as
/// `certs/shop.pem`.
///
/// # Errors
/// See [`OutputError`]. A failed write leaves the callback's other outputs as they are.
pub fn write(name: &str, content: &str) -> Result<(), OutputError> {
    sys::write(name, content)
}

/// Writes a binary output; otherwise like [`write()`].
///
/// # Errors
/// See [`OutputError`].
pub fn write_bytes(name: &str, content: &[u8]) -> Result<(), OutputError> {
    sys::write_bytes(name, content)
}
