//! Recordings: what watches told a host, in a file, so that it can be told again where there is no
//! cluster (`replay`). Owns the format, what of the objects is in it, and how Secrets are
//! kept out of it; does not know what a plugin makes of them.

mod format;
mod mask;
mod read;
mod recorder;
mod redact;
mod session;

pub(crate) use format::{Header, RecordedWatch, Secrets};
pub(crate) use read::{Entry, News, ReadError, Recording};
pub use recorder::{RecordError, RecordOptions};
pub(crate) use recorder::{Recorder, Written, check};
pub(crate) use session::{Session, record};
