//! A model: what the derive knows of a struct.

mod field;
mod key;
mod rust_type;

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;
use syn::{Data, DataStruct, DeriveInput, Fields, Generics, Path, Visibility, ext::IdentExt as _, parse_quote};

use self::key::type_ident;
pub(crate) use self::{
    field::{Field, Nullable},
    key::UniqueKey,
    rust_type::{is_plain, without_option},
};
use crate::{
    attr::{ContainerAttrs, ForwardedAttrs, New},
    case::snake,
    errors::Errors,
};

/// A struct that derives `Upsertable`.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) generics: Generics,
    /// Path of the `upsertable` crate.
    pub(crate) krate: Path,
    /// True where the attribute that gives the path could not be read.
    pub(crate) krate_unknown: bool,
    pub(crate) table: String,
    pub(crate) schema: Option<String>,
    pub(crate) new: Option<New>,
    pub(crate) forwarded: ForwardedAttrs,
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

impl Model {
    pub(crate) fn parse(input: DeriveInput, errors: &mut Errors) -> Self {
        let attrs = ContainerAttrs::parse(&input.attrs, errors);
        let (shape, fields) = fields(input.data, &input.ident, errors);
        let parse = |field| Field::parse(field, &input.ident, attrs.rename_all, errors);
        let fields: Vec<Field> = fields.into_iter().filter_map(parse).collect();
        let mut keys = Vec::new();
        if shape == Shape::Named {
            let misplaced = fields.iter().filter_map(Field::misplaced_unique);
            for unique in attrs.uniques.into_iter().chain(misplaced) {
                keys.push(UniqueKey::resolve(unique, &input.ident, &fields, keys.is_empty(), errors));
            }
        }
        Self {
            krate: attrs.krate.unwrap_or_else(|| parse_quote!(::upsertable)),
            krate_unknown: attrs.krate_unknown,
            table: attrs.table.map_or_else(|| snake(&input.ident.unraw().to_string()), |table| table.value()),
            schema: attrs.schema.map(|schema| schema.value()),
            new: attrs.new,
            forwarded: ForwardedAttrs::parse(&input.attrs, &input.ident),
            ident: input.ident,
            vis: input.vis,
            generics: input.generics,
            fields,
            keys,
            shape,
        }
    }

    /// The fields that are columns, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.is_column())
    }

    /// The columns that a caller supplies, with their indexes among all columns.
    pub(crate) fn supplied(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.columns().enumerate().filter(|(_, field)| !field.is_generated())
    }

    /// Returns true if new rows have a type of their own.
    pub(crate) fn has_new(&self) -> bool {
        self.fields.iter().any(Field::is_generated)
    }

    /// The type of new rows.
    pub(crate) fn new_ident(&self) -> Ident {
        let named = self.new.as_ref().and_then(|new| new.name.clone());
        match named {
            _ if !self.has_new() => self.ident.clone(),
            Some(name) => name,
            None => type_ident(&format!("New{}", self.ident.unraw()), self.ident.span()),
        }
    }

    /// The fields of a key, in the order that it names.
    pub(crate) fn fields_of<'a>(&'a self, key: &'a UniqueKey) -> impl Iterator<Item = &'a Field> {
        key.fields.iter().filter_map(|field| self.fields.get(field.index))
    }

    /// The fields that a key names exactly, with the names as written.
    ///
    /// A guessed field is left out: what follows from a guess is no mistake of the user's.
    pub(crate) fn named_by<'a>(&'a self, key: &'a UniqueKey) -> impl Iterator<Item = (&'a Ident, &'a Field)> {
        let exact = key.fields.iter().filter(|field| !field.guessed);
        exact.filter_map(|field| Some((&field.written, self.fields.get(field.index)?)))
    }

    /// The columns of a key, with their indexes among all columns.
    ///
    /// They are in the order of the model's columns.
    pub(crate) fn columns_of<'a>(&'a self, key: &'a UniqueKey) -> impl Iterator<Item = (usize, &'a Field)> {
        self.columns().enumerate().filter(|(_, field)| self.fields_of(key).any(|of_key| std::ptr::eq(of_key, *field)))
    }

    /// Tests if a key forbids NULL in the field.
    ///
    /// NULL is not equal to NULL in a unique index that is not `NULLS NOT DISTINCT`.
    pub(crate) fn must_not_be_null(&self, field: &Field) -> bool {
        let mut keys = self.keys.iter().filter(|key| !key.nulls_not_distinct);
        keys.any(|key| self.named_by(key).any(|(_, of_key)| std::ptr::eq(of_key, field)))
    }

    /// Tests if rows can be created by the key.
    ///
    /// A caller then supplies each of its columns.
    pub(crate) fn creates(&self, key: &UniqueKey) -> bool {
        !self.fields_of(key).any(Field::is_generated)
    }
}

fn fields(data: Data, model: &Ident, errors: &mut Errors) -> (Shape, Vec<syn::Field>) {
    let (shape, wrong): (Shape, TokenStream) = match data {
        Data::Struct(DataStruct { fields: Fields::Named(named), .. }) => {
            return (Shape::Named, named.named.into_iter().collect());
        }
        Data::Struct(DataStruct { fields: Fields::Unnamed(unnamed), .. }) => (Shape::Tuple, unnamed.to_token_stream()),
        Data::Struct(_) => (Shape::Other, model.to_token_stream()),
        Data::Enum(data) => (Shape::Other, data.enum_token.to_token_stream()),
        Data::Union(data) => (Shape::Other, data.union_token.to_token_stream()),
    };
    errors.at(wrong, "expected a struct with named fields: each field of a model is a column of its table");
    (shape, Vec::new())
}
