//! Settings of a fake server.

use super::{
    execute::{Failure, fail},
    state::{State, default_of},
};

/// Sets `name`, as `SET` and `set_config` do.
pub(super) fn set(state: &mut State, name: &str, value: &str, local: bool) -> Result<(), Failure> {
    check_name(name)?;
    match (name, value) {
        ("role", "none") => state.reset(name),
        ("role", "joe" | "ann") => state.set(name, value, local),
        ("role", _) => return fail("22023", format!("role \"{value}\" does not exist")),
        ("work_mem", _) => state.set(name, &memory(value), local),
        _ => state.set(name, value, local),
    }
    Ok(())
}

/// An amount of memory in the form of `SHOW`.
fn memory(value: &str) -> String {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().expect("an amount of memory");
    let kilobytes = if value.ends_with("MB") { number * 1024 } else { number };
    if kilobytes.is_multiple_of(1024) { format!("{}MB", kilobytes / 1024) } else { format!("{kilobytes}kB") }
}

/// Checks that the setting exists.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    if default_of(name).is_some() || name.contains('.') {
        return Ok(());
    }
    fail("42704", format!("unrecognized configuration parameter \"{name}\""))
}
