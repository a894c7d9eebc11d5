//! Who wrote which field: `metadata.managedFields`.

use serde_json::Value;

use crate::resources::Resource;
use crate::write::How;

pub(crate) fn track_write(
    _resource: &Resource,
    _old: Option<&Value>,
    _new: &mut Value,
    _how: &How,
    _now: &str,
) {
}

pub(crate) fn same_but_for_times(old: &Value, new: &Value) -> bool {
    old == new
}
