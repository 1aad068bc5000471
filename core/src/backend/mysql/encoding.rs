//! The encoded values of rows, kept apart.
//!
//! So a statement takes as many rows as fit.

use std::ops::Range;

use sqlx::{
    Arguments as _, Encode, MySql, Type,
    encode::IsNull,
    error::BoxDynError,
    mysql::{MySqlArguments, MySqlTypeInfo},
};

use crate::{driver::encoding::Encoding, sql::table::Key};

impl Encoding for MySql {
    type Encoder = Encoder;

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Encoder, value: &T) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn repeat_bound(encoder: &mut Encoder, key: &Key) {
        encoder.repeat_prefixes(key.columns.len());
    }

    fn arguments(encoder: Encoder) -> MySqlArguments {
        encoder.into_arguments()
    }

    fn bytes(encoder: &Encoder) -> usize {
        encoder.size()
    }
}

/// Encoded values, one after the other.
///
/// sqlx's own collection tells neither its size nor gives back a part.
#[derive(Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    values: Vec<Value>,
}

#[derive(Clone)]
struct Value {
    kind: MySqlTypeInfo,
    end: usize,
    is_null: bool,
}

/// Bytes of a value beside its content.
///
/// These are its type, and its bit among the NULLs.
const VALUE_OVERHEAD: usize = 3;

impl Encoder {
    pub(super) fn add<'q, T: Encode<'q, MySql> + Type<MySql>>(&mut self, value: &T) -> Result<(), BoxDynError> {
        let kind = value.produces().unwrap_or_else(T::type_info);
        let start = self.bytes.len();
        match value.encode_by_ref(&mut self.bytes) {
            Ok(is_null) => {
                self.values.push(Value { kind, end: self.bytes.len(), is_null: matches!(is_null, IsNull::Yes) });
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Adds a value that is encoded already.
    pub(super) fn add_encoded(&mut self, kind: MySqlTypeInfo, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.values.push(Value { kind, end: self.bytes.len(), is_null: false });
    }

    /// Adds all values of another.
    pub(super) fn add_all(&mut self, other: &Self) {
        let moved = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.values.extend(other.values.iter().map(|value| Value { end: value.end + moved, ..value.clone() }));
    }

    /// Repeats the last `width` values `times` times.
    pub(super) fn repeat_last(&mut self, width: usize, times: usize) {
        let first = self.values.len().saturating_sub(width);
        let start = self.start(first);
        let (values, bytes) = (self.values[first..].to_vec(), self.bytes[start..].to_vec());
        for _ in 0..times {
            let moved = self.bytes.len() - start;
            self.bytes.extend_from_slice(&bytes);
            self.values.extend(values.iter().map(|value| Value { end: value.end + moved, ..value.clone() }));
        }
    }

    /// Replaces the last `width` values by each of their prefixes.
    ///
    /// The first of them, the first two, and so on up to all.
    pub(super) fn repeat_prefixes(&mut self, width: usize) {
        let first = self.values.len().saturating_sub(width);
        let start = self.start(first);
        let (values, bytes) = (self.values.split_off(first), self.bytes.split_off(start));
        for prefix in 1..=values.len() {
            let moved = self.bytes.len();
            self.bytes.extend_from_slice(&bytes[..values[prefix - 1].end - start]);
            let again = values[..prefix].iter().cloned();
            self.values.extend(again.map(|value| Value { end: value.end - start + moved, ..value }));
        }
    }

    /// Returns bytes that are the same for the same values only.
    pub(super) fn into_identity(mut self) -> Vec<u8> {
        for value in &self.values {
            self.bytes.extend(value.end.to_be_bytes());
            self.bytes.push(u8::from(value.is_null));
        }
        self.bytes
    }

    /// Returns the bytes of the value with this number.
    pub(super) fn value(&self, value: usize) -> &[u8] {
        &self.bytes[self.start(value)..self.values[value].end]
    }

    /// Returns the offset of the value with this number.
    fn start(&self, value: usize) -> usize {
        value.checked_sub(1).map_or(0, |before| self.values[before].end)
    }

    /// Returns the bytes that the values take in a statement.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.values.len() * VALUE_OVERHEAD
    }

    /// Turns all values into arguments.
    ///
    /// To copy what is encoded already cannot fail.
    pub(super) fn into_arguments(self) -> MySqlArguments {
        let mut arguments = MySqlArguments::default();
        let copied = self.push(&mut arguments, 0..self.values.len());
        debug_assert!(copied.is_ok());
        arguments
    }

    /// Returns the values of some rows, each after its number.
    ///
    /// The rows have `width` columns. The numbers are counted on from `first`.
    pub(super) fn numbered(&self, rows: Range<usize>, width: usize, first: i64) -> Result<MySqlArguments, BoxDynError> {
        let mut arguments = MySqlArguments::default();
        let values = rows.len() * (width + 1);
        arguments.reserve(
            values,
            self.start(rows.end * width) - self.start(rows.start * width) + rows.len() * size_of_val(&first),
        );
        for (row, number) in rows.zip(first..) {
            arguments.add(number)?;
            self.push(&mut arguments, row * width..(row + 1) * width)?;
        }
        Ok(arguments)
    }

    /// Returns some columns of some rows of `width` columns.
    pub(super) fn of_rows(
        &self,
        rows: impl Iterator<Item = usize>,
        width: usize,
        columns: &[usize],
    ) -> Result<MySqlArguments, BoxDynError> {
        let mut arguments = MySqlArguments::default();
        for row in rows {
            for column in columns {
                let value = row * width + column;
                self.push(&mut arguments, value..value + 1)?;
            }
        }
        Ok(arguments)
    }

    /// Returns some columns of some rows, then others of them.
    ///
    /// The rows have `width` columns. Those of `again` come after all of the first.
    pub(super) fn of_rows_and_again(
        &self,
        rows: impl Iterator<Item = usize> + Clone,
        width: usize,
        columns: &[usize],
        again: &[usize],
    ) -> Result<MySqlArguments, BoxDynError> {
        let mut arguments = self.of_rows(rows.clone(), width, columns)?;
        for row in rows {
            for column in again {
                let value = row * width + column;
                self.push(&mut arguments, value..value + 1)?;
            }
        }
        Ok(arguments)
    }

    fn push(&self, arguments: &mut MySqlArguments, range: Range<usize>) -> Result<(), BoxDynError> {
        let mut start = self.start(range.start);
        for value in &self.values[range] {
            let bytes = &self.bytes[start..value.end];
            arguments.add(Encoded { bytes, kind: &value.kind, is_null: value.is_null })?;
            start = value.end;
        }
        Ok(())
    }
}

/// A value that has been encoded already.
struct Encoded<'v> {
    bytes: &'v [u8],
    kind: &'v MySqlTypeInfo,
    is_null: bool,
}

impl Encode<'_, MySql> for Encoded<'_> {
    fn encode_by_ref(&self, buffer: &mut Vec<u8>) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.bytes);
        Ok(if self.is_null { IsNull::Yes } else { IsNull::No })
    }

    fn produces(&self) -> Option<MySqlTypeInfo> {
        Some(self.kind.clone())
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

/// Never asked for its type, as each value tells its own.
impl Type<MySql> for Encoded<'_> {
    fn type_info() -> MySqlTypeInfo {
        <[u8] as Type<MySql>>::type_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_repeated_by_its_prefixes() {
        let mut encoder = Encoder::default();
        for number in [0_i64, 1, 2, 3] {
            encoder.add(&number).unwrap();
        }
        encoder.repeat_prefixes(3);
        let mut expected = MySqlArguments::default();
        for number in [0_i64, 1, 1, 2, 1, 2, 3] {
            expected.add(number).unwrap();
        }
        assert_eq!(format!("{:?}", encoder.into_arguments()), format!("{expected:?}"));
    }

    #[test]
    fn rows_are_taken_apart_where_they_end() {
        let mut encoder = Encoder::default();
        for (text, number) in [("a", Some(1_i64)), ("bcd", None), ("", Some(3))] {
            encoder.add(&text).unwrap();
            encoder.add(&number).unwrap();
        }
        assert_eq!(encoder.numbered(1..3, 2, 7).unwrap().len(), 6);

        let mut expected = MySqlArguments::default();
        expected.add(7_i64).unwrap();
        expected.add("bcd").unwrap();
        expected.add(None::<i64>).unwrap();
        assert_eq!(format!("{:?}", encoder.numbered(1..2, 2, 7).unwrap()), format!("{expected:?}"));

        encoder.repeat_last(2, 2);
        assert_eq!(
            format!("{:?}", encoder.numbered(4..5, 2, 7).unwrap()),
            format!("{:?}", encoder.numbered(2..3, 2, 7).unwrap())
        );
        assert_eq!(encoder.into_arguments().len(), 10);
    }
}
