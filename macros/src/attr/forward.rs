//! Attributes of a model that the structs beside it get too.

use proc_macro2::{Ident, Span};
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta};

/// The attributes to forward, of the model or of one of its fields.
#[derive(Default)]
pub(crate) struct ForwardedAttrs {
    pub(crate) docs: Vec<Attribute>,
    /// `allow` attributes, and `expect` turned into `allow`.
    ///
    /// A lint that is expected on the model may not occur a second time.
    pub(crate) allows: Vec<Attribute>,
    pub(crate) deprecated: Vec<Attribute>,
    pub(crate) serde: Vec<Attribute>,
}

impl ForwardedAttrs {
    pub(crate) fn parse(attrs: &[Attribute], model: &Ident) -> Self {
        let mut forwarded = Self::default();
        for attr in attrs {
            let path = attr.path();
            if path.is_ident("doc") {
                forwarded.docs.push(link_to_model(attr.clone(), model));
            } else if path.is_ident("deprecated") {
                forwarded.deprecated.push(attr.clone());
            } else if path.is_ident("serde") {
                forwarded.serde.push(attr.clone());
            } else if path.is_ident("allow") || path.is_ident("expect") {
                let mut attr = attr.clone();
                if let Meta::List(list) = &mut attr.meta {
                    list.path = Ident::new("allow", Span::call_site()).into();
                    forwarded.allows.push(attr);
                }
            }
        }
        forwarded
    }
}

/// Turns links to `Self` into links to the model.
///
/// Where the text is repeated, `Self` is another type, which may lack what is linked to.
fn link_to_model(mut attr: Attribute, model: &Ident) -> Attribute {
    if let Meta::NameValue(doc) = &mut attr.meta
        && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &mut doc.value
    {
        let mut linked = text.value();
        for before in ["[`", "[", "("] {
            linked = linked.replace(&format!("{before}Self::"), &format!("{before}{model}::"));
        }
        *text = LitStr::new(&linked, text.span());
    }
    attr
}
