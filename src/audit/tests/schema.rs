//! The part of JSON Schema (2020-12) that `schema.json` uses. Unknown keywords are errors, so that no rule is ignored
//! silently.

use serde_json::{Map, Value};

/// The schema of a line.
pub struct Schema(Value);

impl Schema {
    /// The schema in `text`.
    pub fn new(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("the schema is JSON"))
    }

    /// The values that the schema allows for `key`.
    pub fn words(&self, key: &str) -> Vec<&str> {
        let words = self.0["properties"][key]["enum"].as_array().expect("a closed set");
        words.iter().map(|word| word.as_str().expect("a word")).collect()
    }

    /// Every key that the schema allows in a line.
    pub fn keys(&self) -> Vec<&str> {
        self.0["properties"].as_object().expect("properties").keys().map(String::as_str).collect()
    }

    /// Violations of the schema in `line`; empty for a valid line.
    pub fn faults(&self, line: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.0, line, "", &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let rules = schema.as_object().unwrap_or_else(|| panic!("no schema at `{at}`: {schema}"));
        for (keyword, rule) in rules {
            let holds = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "then" => true,
                "$ref" => self.fits(self.referred(rule), value, at),
                "type" => is_of_type(value, rule),
                "const" => value == rule,
                "enum" => list(rule).contains(value),
                "pattern" => value.as_str().is_none_or(|text| matches(text, rule)),
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
                "required" => value.as_object().is_none_or(|object| {
                    let missing: Vec<_> =
                        list(rule).iter().filter(|key| !object.contains_key(key.as_str().unwrap())).collect();
                    faults.extend(missing.iter().map(|key| format!("{key} is missing")));
                    true
                }),
                "properties" => {
                    for (key, schema) in rule.as_object().unwrap() {
                        if let Some(value) = value.get(key) {
                            self.check(schema, value, key, faults);
                        }
                    }
                    true
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.check(rule, item, at, faults);
                    }
                    true
                }
                "additionalProperties" => {
                    assert_eq!(*rule, Value::Bool(false), "only the closed form is known");
                    let known = rules["properties"].as_object().unwrap();
                    faults.extend(strange(value, |key| known.contains_key(key)));
                    true
                }
                "propertyNames" => {
                    faults.extend(strange(value, |key| self.fits(rule, &key.into(), key)));
                    true
                }
                "anyOf" => list(rule).iter().any(|schema| self.fits(schema, value, at)),
                "allOf" => {
                    list(rule).iter().for_each(|schema| self.check(schema, value, at, faults));
                    true
                }
                "if" => {
                    if self.fits(rule, value, at) {
                        self.check(&rules["then"], value, at, faults);
                    }
                    true
                }
                other => panic!("the schema uses `{other}`, which nobody checks"),
            };
            if !holds {
                faults.push(format!("`{at}` is {value}: {keyword} {rule}"));
            }
        }
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> bool {
        let mut faults = Vec::new();
        self.check(schema, value, at, &mut faults);
        faults.is_empty()
    }

    fn referred(&self, to: &Value) -> &Value {
        let path = to.as_str().and_then(|to| to.strip_prefix('#')).expect("a place in this schema");
        self.0.pointer(path).unwrap_or_else(|| panic!("the schema has no {path}"))
    }
}

fn list(rule: &Value) -> &Vec<Value> {
    rule.as_array().expect("a list")
}

fn strange(value: &Value, known: impl Fn(&str) -> bool) -> Vec<String> {
    let keys = value.as_object().into_iter().flat_map(Map::keys);
    keys.filter(|key| !known(key)).map(|key| format!("`{key}` has no business here")).collect()
}

fn is_of_type(value: &Value, rule: &Value) -> bool {
    match rule.as_str().expect("one type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the schema uses the type `{other}`, which nobody checks"),
    }
}

/// The subset of regular expressions in the patterns: `^`, characters and classes, each with an optional `{n}`, and
/// `$`.
fn matches(text: &str, pattern: &Value) -> bool {
    let pattern = pattern.as_str().expect("a pattern");
    let mut rest = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).expect("anchored");
    let mut text = text.chars();
    while let Some(first) = rest.chars().next() {
        let (class, after) = match first {
            '[' => rest[1..].split_once(']').expect("a whole class"),
            '\\' => (&rest[1..2], &rest[2..]),
            _ => rest.split_at(first.len_utf8()),
        };
        let (times, after) = match after.strip_prefix('{') {
            Some(after) => {
                after.split_once('}').map(|(times, after)| (times.parse().unwrap(), after)).unwrap()
            }
            None => (1, after),
        };
        if !(0..times).all(|_| text.next().is_some_and(|c| is_in(class, c))) {
            return false;
        }
        rest = after;
    }
    text.next().is_none()
}

fn is_in(class: &str, wanted: char) -> bool {
    let class: Vec<char> = class.chars().collect();
    let mut at = 0;
    while at < class.len() {
        if class.get(at + 1) == Some(&'-') && at + 2 < class.len() {
            if (class[at]..=class[at + 2]).contains(&wanted) {
                return true;
            }
            at += 3;
        } else if class[at] == wanted {
            return true;
        } else {
            at += 1;
        }
    }
    false
}
