//! Server-side apply.

use serde_json::Value;

use crate::api::Call;
use crate::state::Store;
use crate::status::ApiError;
use crate::write::{How, Written};

pub(crate) fn apply(
    _store: &mut Store,
    _call: &Call,
    _value: Value,
    _how: &How,
    _force: bool,
) -> Result<Written, ApiError> {
    Err(ApiError::internal("not yet"))
}
