//! Envoy's typed extensions.

use serde_json::{Value, json};

pub(super) fn typed(kind: &str, mut value: Value) -> Value {
    value["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    value
}
