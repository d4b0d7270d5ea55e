//! Typed values of a table. Reports every mistake and records every value for `check`.
//!
//! An unreadable value is reported and treated as absent, so that later mistakes are found too.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    problem::{Origin, nearest_word},
    reader::{Section, Spot},
    tree::{Item, Value},
    units,
};

impl Section<'_> {
    /// The value that `read` accepts; otherwise reports a mistake that names the expected form.
    pub(super) fn value<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Item) -> Option<T>,
    ) -> Option<Spot<T>> {
        let item = self.raw(key)?;
        match read(item) {
            Some(value) => Some(Spot { value, origin: item.origin.clone() }),
            None => {
                let what = match (item.as_text(), &item.value) {
                    (Some(text), _) => format!("cannot be \"{text}\""),
                    (_, Value::Integer(number)) => format!("cannot be {number}"),
                    (_, Value::List(_)) => "cannot be this list".to_owned(),
                    _ => format!("cannot be {}", item.kind()),
                };
                self.problem(key, what, format!("write {expected}"));
                None
            }
        }
    }

    fn recorded<T>(
        &self,
        key: &str,
        read: Option<Spot<T>>,
        default: Option<T>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<Spot<T>> {
        let spot = match (read, default) {
            (Some(spot), _) => spot,
            (None, Some(value)) => Spot { value, origin: Origin::Default },
            (None, None) => return None,
        };
        self.record(key, show(&spot.value), &spot.origin);
        Some(spot)
    }

    /// A non-empty string.
    pub(super) fn text(&self, key: &str) -> Option<Spot<String>> {
        let read = self.value(key, "a non-empty string", |item| {
            item.as_text().filter(|text| !text.is_empty()).map(str::to_owned)
        });
        self.recorded(key, read, None, String::clone)
    }

    /// A string parsed by `parse`, whose error becomes the message.
    pub(super) fn parsed<T: std::fmt::Display>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        remedy: &str,
    ) -> Option<Spot<T>> {
        let item = self.raw(key)?;
        let Some(text) = item.as_text() else {
            self.problem(key, format!("cannot be {}", item.kind()), remedy);
            return None;
        };
        match parse(text) {
            Ok(value) => {
                self.record(key, value.to_string(), &item.origin);
                Some(Spot { value, origin: item.origin.clone() })
            }
            Err(what) => {
                self.problem(key, what, remedy);
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Option<Spot<T>> {
        let item = self.raw(key)?;
        let found = item.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if let Some((word, value)) = found {
            self.record(key, *word, &item.origin);
            return Some(Spot { value: *value, origin: item.origin.clone() });
        }
        let what = match item.as_text() {
            Some(text) => format!("cannot be \"{text}\""),
            None => format!("cannot be {}", item.kind()),
        };
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let mut remedy = format!("write one of {}", all.join(", "));
        let text = item.as_text().unwrap_or_default().to_ascii_lowercase().replace('_', "-");
        if let Some(word) = nearest_word(&text, words.iter().map(|(word, _)| *word)) {
            remedy.push_str(&format!(" (did you mean \"{word}\"?)"));
        }
        self.problem(key, what, remedy);
        None
    }

    /// One of several words, or the default.
    pub(super) fn word_or<T: Copy + PartialEq>(
        &self,
        key: &str,
        words: &[(&'static str, T)],
        default: T,
    ) -> Spot<T> {
        self.word(key, words).unwrap_or_else(|| {
            let shown = words.iter().find(|(_, value)| *value == default).map_or("", |(word, _)| *word);
            self.record(key, shown, &Origin::Default);
            Spot { value: default, origin: Origin::Default }
        })
    }

    /// A boolean; false by default.
    pub(super) fn flag(&self, key: &str) -> Spot<bool> {
        self.flag_or(key, false)
    }

    /// A boolean.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> Spot<bool> {
        let read = self.value(key, "true or false", |item| match (&item.value, &item.origin) {
            (Value::Boolean(flag), _) => Some(*flag),
            (Value::Text(text), Origin::Variable(_)) => text.parse().ok(),
            _ => None,
        });
        self.recorded(key, read, Some(default), ToString::to_string)
            .unwrap_or(Spot { value: default, origin: Origin::Default })
    }

    /// An integer in a range.
    pub(super) fn number(&self, key: &str, range: RangeInclusive<i64>) -> Option<Spot<i64>> {
        let expected = match *range.end() {
            i64::MAX => format!("a whole number from {} on", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        let read = self.value(key, &expected, |item| {
            let number = match (&item.value, &item.origin) {
                (Value::Integer(number), _) => *number,
                (Value::Text(text), Origin::Variable(_)) => text.parse().ok()?,
                _ => return None,
            };
            range.contains(&number).then_some(number)
        });
        self.recorded(key, read, None, ToString::to_string)
    }

    /// A number of at least `least`, or the default.
    pub(super) fn count(&self, key: &str, least: i64, default: usize) -> usize {
        match self.number(key, least..=1_000_000_000) {
            Some(spot) => usize::try_from(spot.value).unwrap_or(usize::MAX),
            None => {
                self.record(key, default.to_string(), &Origin::Default);
                default
            }
        }
    }

    /// A duration, or the default.
    pub(super) fn duration(&self, key: &str, default: Duration) -> Spot<Duration> {
        let read = self.value(key, units::DURATION_FORM, |item| units::parse_duration(item.as_text()?));
        self.recorded(key, read, Some(default), |value| units::show_duration(*value))
            .unwrap_or(Spot { value: default, origin: Origin::Default })
    }

    /// Reads a duration, if present.
    pub(super) fn optional_duration(&self, key: &str) -> Option<Duration> {
        let read = self.value(key, units::DURATION_FORM, |item| units::parse_duration(item.as_text()?));
        self.recorded(key, read, None, |value| units::show_duration(*value)).map(|spot| spot.value)
    }

    /// A duration greater than zero, or the default.
    pub(super) fn positive_duration(&self, key: &str, default: Duration) -> Duration {
        let spot = self.duration(key, default);
        if spot.value.is_zero() {
            let remedy =
                format!("write how long it may take (default \"{}\")", units::show_duration(default));
            self.problem(key, "cannot be zero", remedy);
            return default;
        }
        spot.value
    }

    /// A size in bytes.
    pub(super) fn size(&self, key: &str) -> Option<Spot<u64>> {
        let read = self.value(key, units::SIZE_FORM, |item| units::parse_size(item.as_text()?));
        self.recorded(key, read, None, |value| units::show_size(*value))
    }

    /// The path of a file, relative to the configuration file or, from a variable, to the working directory.
    pub(super) fn path(&self, key: &str) -> Option<Spot<PathBuf>> {
        let read = self.value(key, "the path of a file", |item| self.path_of(item));
        self.recorded(key, read, None, |path| path.display().to_string())
    }

    /// Returns the path in `item`, as [`Section::path`] reads paths.
    pub(super) fn path_of(&self, item: &Item) -> Option<PathBuf> {
        let path = Path::new(item.as_text().filter(|text| !text.is_empty())?);
        Some(match item.origin {
            Origin::File { .. } => self.context.base.join(path),
            _ => path.to_owned(),
        })
    }

    /// A list of strings; a variable separates them by commas.
    pub(super) fn texts(&self, key: &str) -> Option<Spot<Vec<Spot<String>>>> {
        let item = self.raw(key)?;
        let read: Option<Vec<_>> = match (&item.value, &item.origin) {
            (Value::Text(text), Origin::Variable(_)) => Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| Spot { value: part.to_owned(), origin: item.origin.clone() })
                    .collect(),
            ),
            (Value::List(list), _) => list
                .iter()
                .map(|part| Some(Spot { value: part.as_text()?.to_owned(), origin: part.origin.clone() }))
                .collect(),
            _ => None,
        };
        let Some(value) = read else {
            self.problem(key, format!("cannot be {}", item.kind()), "write a list of texts: [\"a\", \"b\"]");
            return None;
        };
        let shown: Vec<_> = value.iter().map(|part| part.value.as_str()).collect();
        self.record(key, shown.join(", "), &item.origin);
        Some(Spot { value, origin: item.origin.clone() })
    }
}
