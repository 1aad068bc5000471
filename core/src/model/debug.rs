//! Formats new rows and keys for `{:?}`.

use std::{fmt, str::Split};

/// References to the values of some fields, to be shown.
pub trait Shown {
    /// Adds the values to the output, under the next names.
    fn show(self, fields: &mut Fields<'_, '_>);
}

/// The fields of a struct that is shown.
pub struct Fields<'f, 'w> {
    shown: fmt::DebugStruct<'f, 'w>,
    names: Split<'static, char>,
}

impl Fields<'_, '_> {
    pub(crate) fn put(&mut self, value: &dyn fmt::Debug) {
        self.shown.field(self.names.next().unwrap_or_default(), value);
    }
}

/// Writes a struct as `#[derive(Debug)]` does.
///
/// The first of the `names` is the struct's own, the others are its fields'.
///
/// # Errors
///
/// Those of the writer.
pub fn show(f: &mut fmt::Formatter<'_>, names: &'static str, values: impl Shown) -> fmt::Result {
    let mut names = names.split(' ');
    let shown = f.debug_struct(names.next().unwrap_or_default());
    let mut fields = Fields { shown, names };
    values.show(&mut fields);
    fields.shown.finish()
}

/// Values, and others after them.
pub struct Then<A, B>(pub A, pub B);

impl<A: Shown, B: Shown> Shown for Then<A, B> {
    fn show(self, fields: &mut Fields<'_, '_>) {
        self.0.show(fields);
        self.1.show(fields);
    }
}
