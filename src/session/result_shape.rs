//! Column layout of a statement's result.

use std::{
    hash::{BuildHasher, Hasher},
    num::NonZeroU64,
};

use foldhash::fast::FixedState;

use crate::wire::{DecodeError, Reader, tag::backend as b};

/// Number for the columns of a statement's result: names, types and type modifiers, or the absence of columns.
///
/// A server rejects a prepared statement after a change of the result columns (`equalTupleDescs` in
/// `RevalidateCachedQuery`). Collations count there too, but no RowDescription contains collations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResultShape(NonZeroU64);

// === impl ResultShape ===

impl ResultShape {
    /// Shape in a RowDescription or NoData; `None` if the message is incomplete.
    /// <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-ROWDESCRIPTION>
    pub(super) fn told_by(tag: u8, body: &[u8]) -> Option<Self> {
        let mut hasher = FixedState::default().build_hasher();
        if tag == b::ROW_DESCRIPTION {
            hash_columns(body, &mut hasher).ok()?;
        }
        NonZeroU64::new(hasher.finish() | 1).map(Self)
    }
}

fn hash_columns(body: &[u8], hasher: &mut impl Hasher) -> Result<(), DecodeError> {
    let mut reader = Reader::new(body);
    let count = reader.i16()?;
    hasher.write_i16(count);
    for _ in 0..count {
        let name = reader.string()?;
        hasher.write_usize(name.len());
        hasher.write(name);
        let _table_and_column: [u8; 6] = reader.array()?;
        hasher.write_u32(reader.u32()?);
        let _type_size = reader.i16()?;
        hasher.write_i32(reader.i32()?);
        let _format = reader.i16()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a column `name` of `table` with the type, modifier and format.
    fn column(name: &str, table: u32, kind: u32, modifier: i32, format: i16) -> Vec<u8> {
        let mut column =
            [name.as_bytes(), b"\0", &table.to_be_bytes(), &[0, 1], &kind.to_be_bytes()].concat();
        column.extend([&[0, 4][..], &modifier.to_be_bytes(), &format.to_be_bytes()].concat());
        column
    }

    fn shape(columns: &[Vec<u8>]) -> Option<ResultShape> {
        let count = i16::try_from(columns.len()).unwrap().to_be_bytes();
        ResultShape::told_by(b::ROW_DESCRIPTION, &[&count[..], &columns.concat()].concat())
    }

    #[test]
    fn names_types_and_modifiers_tell_results_apart() {
        let one = shape(&[column("a", 1, 23, -1, 0)]);
        assert!(one.is_some());
        for other in [
            shape(&[]),
            shape(&[column("b", 1, 23, -1, 0)]),
            shape(&[column("a", 1, 25, -1, 0)]),
            shape(&[column("a", 1, 23, 8, 0)]),
            shape(&[column("a", 1, 23, -1, 0), column("a", 1, 23, -1, 0)]),
            ResultShape::told_by(b::NO_DATA, b""),
        ] {
            assert!(other.is_some() && other != one);
        }
        assert_eq!(shape(&[column("a", 2, 23, -1, 1)]), one, "tables and formats do not count");
    }

    #[test]
    fn a_description_that_is_cut_has_no_shape() {
        let whole = [&[0, 1][..], &column("a", 1, 23, -1, 0)].concat();
        assert!(ResultShape::told_by(b::ROW_DESCRIPTION, &whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(ResultShape::told_by(b::ROW_DESCRIPTION, &whole[..end]), None, "{end}");
        }
    }
}
