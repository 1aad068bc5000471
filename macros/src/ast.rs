//! A model as the derive sees it, read from syn.
//!
//! Mistakes in one attribute and names of no field are reported on the way.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Data, DeriveInput, Fields, Generics, Path, Type, Visibility, ext::IdentExt as _, parse_quote};

use crate::{
    attr::{ContainerAttrs, FieldAttrs, NULLS_NOT_DISTINCT, New, Unique},
    carried::ForwardedAttrs,
    case::{RenameAll, pascal, snake},
    errors::{Errors, did_you_mean, list, nearest},
};

/// A struct that derives `Upsertable`.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) generics: Generics,
    /// Path of the `upsertable` crate.
    ///
    /// `None` when the attribute that says it could not be read.
    pub(crate) krate: Option<Path>,
    pub(crate) table: String,
    pub(crate) schema: Option<String>,
    pub(crate) new: Option<New>,
    pub(crate) carried: ForwardedAttrs,
    pub(crate) fields: Vec<Field>,
    pub(crate) keys: Vec<UniqueKey>,
    pub(crate) shape: Shape,
}

/// The kind of item that the derive stands on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// A struct with named fields.
    Named,
    /// A struct that `sqlx::FromRow` can be derived for.
    Tuple,
    /// Anything else.
    Other,
}

/// A field of a model: a column unless it is skipped.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) ty: Type,
    pub(crate) column: String,
    pub(crate) attrs: FieldAttrs,
    pub(crate) carried: ForwardedAttrs,
}

/// A `#[unique(..)]` of a model.
pub(crate) struct UniqueKey {
    pub(crate) attr: Attribute,
    pub(crate) ident: Ident,
    /// True where `key = ..` gives the name.
    pub(crate) named: bool,
    pub(crate) fields: Vec<KeyField>,
    pub(crate) nulls_not_distinct: bool,
    pub(crate) reported: bool,
}

/// A field as it is named in a `#[unique(..)]`.
pub(crate) struct KeyField {
    pub(crate) written: Ident,
    /// Index of the field among the model's fields.
    pub(crate) index: usize,
    /// True where no field has the written name.
    ///
    /// This field is then the nearest.
    guessed: bool,
}

impl Model {
    pub(crate) fn read(input: DeriveInput, errors: &mut Errors) -> Self {
        let attrs = ContainerAttrs::read(&input.attrs, errors);
        let (shape, found) = fields(&input, errors);
        let fields: Vec<Field> =
            found.into_iter().filter_map(|field| Field::read(field, &input.ident, attrs.rename_all, errors)).collect();
        let mut model = Self {
            krate: if attrs.krate_unknown { None } else { Some(attrs.krate.unwrap_or(parse_quote!(::upsertable))) },
            table: attrs.table.map_or_else(|| snake(&input.ident.unraw().to_string()), |table| table.value()),
            schema: attrs.schema.map(|schema| schema.value()),
            new: attrs.new,
            carried: ForwardedAttrs::read(&input.attrs, &input.ident),
            ident: input.ident,
            vis: input.vis,
            generics: input.generics,
            fields,
            keys: Vec::new(),
            shape,
        };
        if shape == Shape::Named {
            let on_fields: Vec<Unique> = model.fields.iter_mut().filter_map(Field::misplaced_unique).collect();
            for unique in attrs.uniques.into_iter().chain(on_fields) {
                let key = UniqueKey::read(unique, &model, errors);
                model.keys.push(key);
            }
        }
        model
    }

    /// The fields that are columns, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.is_column())
    }

    /// The columns that a caller supplies, with their indexes.
    ///
    /// An index is the place among the columns.
    pub(crate) fn supplied(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.columns().enumerate().filter(|(_, field)| field.attrs.generated.is_none())
    }

    /// Returns true if new rows have a type of their own.
    pub(crate) fn has_new(&self) -> bool {
        self.fields.iter().any(|field| field.attrs.generated.is_some())
    }

    /// The type of new rows.
    pub(crate) fn new_ident(&self) -> Ident {
        let named = self.new.as_ref().and_then(|new| new.name.clone());
        match named {
            _ if !self.has_new() => self.ident.clone(),
            Some(name) => name,
            None => ident(&format!("New{}", self.ident.unraw()), self.ident.span()),
        }
    }

    /// The fields of a key, in the order that it names.
    pub(crate) fn fields_of<'a>(&'a self, key: &'a UniqueKey) -> impl Iterator<Item = &'a Field> {
        key.fields.iter().filter_map(|field| self.fields.get(field.index))
    }

    /// The fields that a key names without a slip.
    ///
    /// Each comes with its name as it is written there: what follows from a guess is no mistake of the user's.
    pub(crate) fn named_by<'a>(&'a self, key: &'a UniqueKey) -> impl Iterator<Item = (&'a Ident, &'a Field)> {
        let sure = key.fields.iter().filter(|field| !field.guessed);
        sure.filter_map(|field| Some((&field.written, self.fields.get(field.index)?)))
    }

    /// The columns of a key, with their indexes.
    ///
    /// They are in the order of the model's columns; an index is the place among these.
    pub(crate) fn columns_of<'a>(&'a self, key: &'a UniqueKey) -> impl Iterator<Item = (usize, &'a Field)> {
        self.columns().enumerate().filter(|(_, field)| self.fields_of(key).any(|of_key| std::ptr::eq(of_key, *field)))
    }

    /// Tests if a key forbids NULL in the field.
    ///
    /// In such a key NULL would not be equal to NULL.
    pub(crate) fn must_not_be_null(&self, field: &Field) -> bool {
        let mut keys = self.keys.iter().filter(|key| !key.nulls_not_distinct);
        keys.any(|key| self.named_by(key).any(|(_, of_key)| std::ptr::eq(of_key, field)))
    }

    /// Tests if a caller supplies every column of the key.
    pub(crate) fn creates(&self, key: &UniqueKey) -> bool {
        self.fields_of(key).all(|field| field.attrs.generated.is_none())
    }
}

fn fields(input: &DeriveInput, errors: &mut Errors) -> (Shape, Vec<syn::Field>) {
    let expected = "expected a struct with named fields: each field of a model is a column of its table";
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => return (Shape::Named, named.named.iter().cloned().collect()),
            Fields::Unnamed(unnamed) => errors.at(unnamed, expected),
            Fields::Unit => errors.at(&input.ident, expected),
        },
        Data::Enum(data) => errors.at(data.enum_token, expected),
        Data::Union(data) => errors.at(data.union_token, expected),
    }
    let tuple = matches!(&input.data, Data::Struct(data) if matches!(data.fields, Fields::Unnamed(_)));
    (if tuple { Shape::Tuple } else { Shape::Other }, Vec::new())
}

impl Field {
    fn read(field: syn::Field, model: &Ident, rename_all: Option<RenameAll>, errors: &mut Errors) -> Option<Self> {
        let ident = field.ident?;
        let attrs = FieldAttrs::read(&field.attrs, errors);
        let name = ident.unraw().to_string();
        let column = match (&attrs.rename, rename_all) {
            (Some(rename), _) => rename.value(),
            (None, Some(rule)) => rule.apply(&name),
            (None, None) => name,
        };
        // In the types that the derive writes, `Self` would be those types.
        let tokens = field.ty.to_token_stream();
        let ty = if names_self(tokens.clone()) {
            syn::parse2(without_self(tokens, model)).unwrap_or(field.ty)
        } else {
            field.ty
        };
        Some(Self { ident, vis: field.vis, ty, column, attrs, carried: ForwardedAttrs::read(&field.attrs, model) })
    }

    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    pub(crate) fn is_column(&self) -> bool {
        self.attrs.skip.is_none()
    }

    /// Takes a `#[unique]` that was meant for this field.
    ///
    /// So a mistake in its place is the only one reported for it.
    fn misplaced_unique(&mut self) -> Option<Unique> {
        let attr = self.attrs.unique.take()?;
        Some(Unique { attr, fields: vec![self.ident.clone()], name: None, nulls_not_distinct: None, reported: true })
    }
}

impl UniqueKey {
    fn read(unique: Unique, model: &Model, errors: &mut Errors) -> Self {
        let before = errors.len();
        let mut key = Self {
            ident: model.ident.clone(),
            named: unique.name.is_some(),
            fields: Vec::new(),
            nulls_not_distinct: unique.nulls_not_distinct.is_some(),
            reported: unique.reported,
            attr: unique.attr,
        };
        for written in unique.fields {
            key.field(written, model, errors);
        }
        key.reported |= errors.len() > before;
        key.ident = unique.name.unwrap_or_else(|| key.default_name(model));
        key
    }

    fn field(&mut self, written: Ident, model: &Model, errors: &mut Errors) {
        let name = written.unraw().to_string();
        let names: Vec<String> = model.fields.iter().map(Field::name).collect();
        let exact = names.iter().position(|other| *other == name);
        let index = exact.or_else(|| {
            let words: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = nearest(&name, words.iter().copied().chain([NULLS_NOT_DISTINCT]));
            let known = list(&words, "and");
            let message = format!("`{}` has no field `{name}`{}", model.ident, did_you_mean(near));
            errors.at(&written, if words.is_empty() { message } else { format!("{message} (its fields are {known})") });
            self.nulls_not_distinct |= near == Some(NULLS_NOT_DISTINCT);
            names.iter().position(|other| Some(other.as_str()) == near)
        });
        let Some(index) = index else { return };
        let guessed = exact.is_none();
        match self.fields.iter().find(|field| field.index == index) {
            None => self.fields.push(KeyField { written, index, guessed }),
            Some(other) if guessed || other.guessed => {}
            Some(_) => errors.at(&written, format!("`{name}` is named twice in this key")),
        }
    }

    fn default_name(&self, model: &Model) -> Ident {
        let start = model.ident.unraw();
        let fields: String = match model.keys.as_slice() {
            [] => String::new(),
            _ => model.fields_of(self).map(|field| pascal(&field.name())).collect(),
        };
        ident(&format!("{start}{fields}Key"), model.ident.span())
    }
}

/// Makes an identifier of identifiers.
///
/// The compiler may still refuse it: some letters change into two when they become capitals.
fn ident(name: &str, span: Span) -> Ident {
    let mut ident: Ident = syn::parse_str(name).unwrap_or_else(|_| Ident::new("UnnamedKey", span));
    ident.set_span(span);
    ident
}

fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => names_self(group.stream()),
        _ => false,
    })
}

fn without_self(tokens: TokenStream, model: &Ident) -> TokenStream {
    let replace = |token| match token {
        TokenTree::Ident(ident) if ident == "Self" => at(model, ident.span()).into(),
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), without_self(group.stream(), model));
            inner.set_span(group.span());
            inner.into()
        }
        token => token,
    };
    tokens.into_iter().map(replace).collect()
}

fn at(ident: &Ident, span: Span) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(span);
    ident
}
