//! The part of JSON Schema that `schema.json` uses.

use serde_json::Value;

/// The part of JSON Schema that `schema.json` uses.
pub(super) fn assert_valid(schema: &Value, line: &Value) {
    let object = line.as_object().expect("an object");
    let required = |list: &Value| {
        for key in list.as_array().unwrap() {
            assert!(object.contains_key(key.as_str().unwrap()), "{key} is missing in {line}");
        }
    };
    required(&schema["required"]);
    for (key, value) in object {
        let property = &schema["properties"][key];
        assert!(property.is_object(), "the schema has no {key}: {line}");
        let fits = match property["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => *value == property["const"],
        };
        assert!(fits, "{key} in {line}");
        if let Some(words) = property["enum"].as_array() {
            assert!(words.contains(value), "{key} in {line}");
        }
    }
    for rule in schema["allOf"].as_array().unwrap() {
        if rule["if"]["properties"]["event.action"]["const"] == line["event.action"] {
            required(&rule["then"]["required"]);
        }
    }
}
