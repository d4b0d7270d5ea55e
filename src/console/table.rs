//! Tables in the protocol's format: typed columns and rows of values, in text and in binary.

use crate::wire::write_frame;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: ColumnType,
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Int4,
    Int8,
    Numeric,
}

/// One field of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Text(String),
    /// For any numeric column; a value that does not fit is replaced by the type's maximum.
    Number(u64),
}

/// One value for each column.
pub(super) type Row = Vec<Value>;

/// Format of values in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

/// A `numeric` has groups of four digits.
const NUMERIC_GROUP_BASE: u64 = 10_000;

pub(super) const fn text_column(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Text }
}

pub(super) const fn int4_column(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Int4 }
}

pub(super) const fn int8_column(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Int8 }
}

pub(super) const fn numeric_column(name: &'static str) -> Column {
    Column { name, kind: ColumnType::Numeric }
}

/// Appends a RowDescription.
pub(super) fn write_row_description(out: &mut Vec<u8>, columns: &[Column], format: impl Fn(usize) -> Format) {
    write_frame(out, b'T', |body| {
        body.extend_from_slice(&int16_bytes(columns.len()));
        for (at, column) in columns.iter().enumerate() {
            body.extend_from_slice(column.name.as_bytes());
            body.push(0);
            // Not a column of a table.
            body.extend_from_slice(&[0; 6]);
            body.extend_from_slice(&column.kind.type_oid().to_be_bytes());
            body.extend_from_slice(&column.kind.type_size().to_be_bytes());
            body.extend_from_slice(&(-1_i32).to_be_bytes());
            body.extend_from_slice(&format(at).code().to_be_bytes());
        }
    });
}

/// Appends a DataRow.
pub(super) fn write_data_row(
    out: &mut Vec<u8>,
    columns: &[Column],
    row: &Row,
    format: impl Fn(usize) -> Format,
) {
    debug_assert_eq!(columns.len(), row.len(), "a row has as many values as there are columns");
    write_frame(out, b'D', |body| {
        body.extend_from_slice(&int16_bytes(columns.len()));
        for (at, (column, value)) in columns.iter().zip(row).enumerate() {
            let start = body.len();
            body.extend_from_slice(&(-1_i32).to_be_bytes());
            if *value == Value::Null {
                continue;
            }
            value.write(body, column.kind, format(at));
            let bytes = i32::try_from(body.len() - start - 4).unwrap_or(i32::MAX);
            if let Some(field) = body.get_mut(start..start + 4) {
                field.copy_from_slice(&bytes.to_be_bytes());
            }
        }
    });
}

fn int16_bytes(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes()
}

// === impl ColumnType ===

impl ColumnType {
    /// <https://www.postgresql.org/docs/current/catalog-pg-type.html>
    pub(super) const fn type_oid(self) -> u32 {
        match self {
            Self::Text => 25,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Numeric => 1700,
        }
    }

    const fn type_size(self) -> i16 {
        match self {
            Self::Int4 => 4,
            Self::Int8 => 8,
            Self::Text | Self::Numeric => -1,
        }
    }
}

// === impl Format ===

impl Format {
    pub(super) const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    const fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

// === impl Value ===

impl Value {
    fn write(&self, out: &mut Vec<u8>, kind: ColumnType, format: Format) {
        match self {
            Self::Null => {}
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Number(number) => {
                let number = match kind {
                    ColumnType::Int4 => (*number).min(i32::MAX.unsigned_abs().into()),
                    ColumnType::Int8 => (*number).min(i64::MAX.unsigned_abs()),
                    ColumnType::Numeric | ColumnType::Text => *number,
                };
                match (kind, format) {
                    (ColumnType::Int4, Format::Binary) => {
                        out.extend_from_slice(&u32::try_from(number).unwrap_or_default().to_be_bytes());
                    }
                    (ColumnType::Int8, Format::Binary) => out.extend_from_slice(&number.to_be_bytes()),
                    (ColumnType::Numeric, Format::Binary) => write_numeric(out, number),
                    _ => out.extend_from_slice(number.to_string().as_bytes()),
                }
            }
        }
    }
}

/// Writes number of groups, weight of the first group, sign, digits after the point, and the groups, like
/// `numeric_send`.
fn write_numeric(out: &mut Vec<u8>, mut number: u64) {
    let mut groups = Vec::new();
    while number > 0 {
        groups.push(u16::try_from(number % NUMERIC_GROUP_BASE).unwrap_or_default());
        number /= NUMERIC_GROUP_BASE;
    }
    out.extend_from_slice(&int16_bytes(groups.len()));
    out.extend_from_slice(&int16_bytes(groups.len().saturating_sub(1)));
    out.extend_from_slice(&[0; 4]);
    let significant = groups.into_iter().rev();
    significant.for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Number(flag.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Into<Value>, kind: ColumnType, format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        value.into().write(&mut out, kind, format);
        out
    }

    #[test]
    fn numbers_that_do_not_fit_are_shown_as_the_largest_that_do() {
        assert_eq!(written(u64::MAX, ColumnType::Int4, Format::Text), b"2147483647");
        assert_eq!(written(u64::MAX, ColumnType::Int8, Format::Text), b"9223372036854775807");
        assert_eq!(written(u64::MAX, ColumnType::Numeric, Format::Text), b"18446744073709551615");
    }

    #[test]
    fn binary_numbers_are_what_the_server_would_send() {
        assert_eq!(written(7_u64, ColumnType::Int4, Format::Binary), [0, 0, 0, 7]);
        assert_eq!(written(7_u64, ColumnType::Int8, Format::Binary), [0, 0, 0, 0, 0, 0, 0, 7]);
        // Output of `select numeric_send(x)`.
        assert_eq!(written(0_u64, ColumnType::Numeric, Format::Binary), [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            written(12345_u64, ColumnType::Numeric, Format::Binary),
            [0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 9, 41]
        );
        assert_eq!(
            written(20000_u64, ColumnType::Numeric, Format::Binary),
            [0, 2, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0]
        );
    }

    #[test]
    fn a_null_has_no_bytes_and_no_length() {
        let mut out = Vec::new();
        let row = vec![Value::Null, Value::from("ab")];
        write_data_row(&mut out, &[text_column("a"), text_column("b")], &row, |_| Format::Text);
        assert_eq!(out, b"D\0\0\0\x10\0\x02\xff\xff\xff\xff\0\0\0\x02ab");
    }
}
