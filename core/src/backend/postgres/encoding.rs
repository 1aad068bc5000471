//! Values on their way to the server.
//!
//! They are bound to a statement, or staged as the fields that COPY and arrays are made of.

use sqlx::{
    Arguments as _, Encode, Postgres, Type, TypeInfo as _,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
};

use crate::driver::encoding::Encoding;

impl Encoding for Postgres {
    type Encoder = Encoder;

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Encoder, value: &T) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn encode_key<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Encoder, value: &T) -> Result<(), BoxDynError> {
        encoder.add_key(value)
    }

    fn stage_encoder(types: &[PgTypeInfo]) -> fn() -> Encoder {
        if are_fields(types) { Encoder::fields } else { Encoder::default }
    }

    fn arguments(encoder: Encoder) -> PgArguments {
        encoder.arguments()
    }

    fn bytes(encoder: &Encoder) -> usize {
        encoder.bytes()
    }
}

/// Collects the values of rows.
pub enum Encoder {
    /// To be bound, one placeholder for each.
    Bound {
        arguments: PgArguments,
        /// True once a key's column is compared with a text.
        text: bool,
    },
    /// To be staged by rows.
    Fields(Fields),
}

impl Default for Encoder {
    fn default() -> Self {
        Self::Bound { arguments: PgArguments::default(), text: false }
    }
}

impl Encoder {
    pub(super) fn fields() -> Self {
        const FEW_ROWS_BYTES: usize = 1 << 10;
        let mut buffer = PgArgumentBuffer::default();
        buffer.reserve(FEW_ROWS_BYTES);
        Self::Fields(Fields(buffer))
    }

    pub(super) fn add<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: &T) -> Result<(), BoxDynError> {
        match self {
            Self::Bound { arguments, .. } => arguments.add(value),
            Self::Fields(fields) => fields.add(value),
        }
    }

    /// Adds a value that is compared with a key's column.
    ///
    /// A text has no type then, so that the server gives it the column's: as `text`, it would compare otherwise than the column does where
    /// that is `citext` or `char(n)`.
    pub(super) fn add_key<'q, T: Encode<'q, Postgres> + Type<Postgres>>(
        &mut self,
        value: &T,
    ) -> Result<(), BoxDynError> {
        match self {
            Self::Bound { arguments, text } if is_text(&T::type_info()) => {
                *text = true;
                arguments.add(Untyped(value))
            }
            _ => self.add(value),
        }
    }

    /// Returns the bytes of the rows so far, if known.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bound { .. } => 0,
            Self::Fields(fields) => fields.0.len(),
        }
    }

    /// Returns true if a key's column is compared with a text.
    pub(super) fn has_key_text(&self) -> bool {
        matches!(self, Self::Bound { text: true, .. })
    }

    /// Returns the bytes of what is to be staged.
    pub(super) fn into_fields(self) -> Vec<u8> {
        match self {
            Self::Bound { .. } => Vec::new(),
            Self::Fields(Fields(buffer)) => buffer.to_vec(),
        }
    }

    pub(super) fn arguments(self) -> PgArguments {
        match self {
            Self::Bound { arguments, .. } => arguments,
            Self::Fields(_) => PgArguments::default(),
        }
    }
}

/// Returns true if all values can be elements of arrays.
///
/// These are values of types that every server has, and no arrays.
pub(super) fn are_fields(types: &[PgTypeInfo]) -> bool {
    types.iter().all(|kind| is_everywhere(kind) && !kind.name().ends_with("[]"))
}

/// Returns true if every server knows the type by one number.
pub(super) fn is_everywhere(kind: &PgTypeInfo) -> bool {
    kind.oid().is_some() && !matches!(kind.name(), "?" | "RECORD" | "RECORD[]")
}

/// Returns true if texts are sent for this type.
pub(super) fn is_text(kind: &PgTypeInfo) -> bool {
    matches!(kind.name(), "TEXT" | "VARCHAR" | "CHAR" | "NAME")
}

/// A value whose type the server finds out.
struct Untyped<'v, T>(&'v T);

impl<T: Type<Postgres>> Type<Postgres> for Untyped<'_, T> {
    fn type_info() -> PgTypeInfo {
        unspecified()
    }
}

impl<'q, T: Encode<'q, Postgres>> Encode<'q, Postgres> for Untyped<'_, T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.encode_by_ref(buffer)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(unspecified())
    }
}

/// A NULL of the type that the server finds out.
pub(super) struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        unspecified()
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// Returns the type that leaves a placeholder's type to the server.
pub(super) fn unspecified() -> PgTypeInfo {
    PgTypeInfo::with_oid(Oid(0))
}

/// The values of rows, each with its length before it.
///
/// They come one behind the other, as COPY and arrays have them.
pub struct Fields(PgArgumentBuffer);

const NULL: i32 = -1;
const LENGTH: usize = 4;

impl Fields {
    fn add<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: &T) -> Result<(), BoxDynError> {
        let declared = T::type_info();
        if value.produces().is_some_and(|kind| !kind.type_eq(&declared)) {
            return Err(format!("a value of a column of type {} has another type", declared.name()).into());
        }
        let start = self.0.len();
        self.0.extend([0; LENGTH]);
        let length = match value.encode_by_ref(&mut self.0)? {
            IsNull::Yes => NULL,
            IsNull::No => i32::try_from(self.0.len() - start - LENGTH)?,
        };
        self.0[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Iterates over the values, each with its length before it.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let length = i32::from_be_bytes(rest.first_chunk().copied()?);
            let (field, behind) = rest.split_at_checked(LENGTH + usize::try_from(length).unwrap_or(0))?;
            rest = behind;
            Some(field)
        })
    }
}

/// The values of one column, as an array.
pub(super) struct Array {
    element: Oid,
    rows: usize,
    fields: Vec<u8>,
}

impl Array {
    /// The bytes of an argument before its elements.
    ///
    /// These are its length, and five numbers.
    pub(super) const HEAD_BYTES: usize = 24;

    /// Makes one array for each column of the rows.
    pub(super) fn columns(fields: &Fields, elements: &[Oid], rows: usize) -> Vec<Self> {
        let width = elements.len().max(1);
        let bytes = fields.0.len().div_ceil(width);
        let mut arrays: Vec<Self> =
            elements.iter().map(|&element| Self { element, rows, fields: Vec::with_capacity(bytes) }).collect();
        for (position, field) in fields.iter().enumerate() {
            arrays[position % width].fields.extend_from_slice(field);
        }
        arrays
    }
}

impl Type<Postgres> for Array {
    // The statement casts it.
    fn type_info() -> PgTypeInfo {
        unspecified()
    }
}

impl Encode<'_, Postgres> for Array {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const DIMENSIONS: i32 = 1;
        const FLAGS: i32 = 0;
        const LOWER_BOUND: i32 = 1;
        for number in [DIMENSIONS, FLAGS] {
            buffer.extend(number.to_be_bytes());
        }
        buffer.extend(self.element.0.to_be_bytes());
        for number in [i32::try_from(self.rows)?, LOWER_BOUND] {
            buffer.extend(number.to_be_bytes());
        }
        buffer.extend_from_slice(&self.fields);
        Ok(IsNull::No)
    }
}
