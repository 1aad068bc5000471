//! The user's identifiers, where the derive writes them again.

use proc_macro2::{Ident, Span};

/// Makes the identifier the derive's own, at its place.
///
/// Lints of the user's crate are about what the user wrote.
pub(crate) fn respan(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(respanned(ident.span()));
    ident
}

/// The derive's own span at the same place.
pub(super) fn respanned(span: Span) -> Span {
    Span::call_site().located_at(span)
}
