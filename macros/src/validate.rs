//! Rules across attributes, one function each, with its reason.

use std::collections::HashMap;

use syn::{GenericParam, ext::IdentExt as _};

use crate::{
    attr::check_identifier,
    errors::{Errors, list},
    model::{Field, Model, Nullable, Shape, UniqueKey},
};

/// Reports every mistake of a model that one attribute alone does not show.
pub(crate) fn validate(model: &Model, errors: &mut Errors) {
    not_generic(model, errors);
    if model.shape != Shape::Named {
        return;
    }
    for field in &model.fields {
        if field.is_column() {
            generated_is_never_written(field, errors);
            column_has_a_name(field, errors);
            read_as_it_is_written(field, errors);
        } else {
            skipped_means_nothing_else(field, errors);
        }
    }
    columns_have_different_names(model, errors);
    new_is_written(model, errors);
    types_have_different_names(model, errors);
    for key in &model.keys {
        key_has_fields(key, errors);
        key_is_of_columns(model, key, errors);
    }
    keys_are_not_null(model, errors);
    keys_differ(model, errors);
    first_key_is_never_updated(model, errors);
    if some_column_is_supplied(model, errors) {
        has_a_key(model, errors);
        first_key_is_supplied(model, errors);
    }
}

/// Refuses a generic model.
///
/// One table and one set of statements belong to one type, and rows outlive the call that reads them.
fn not_generic(model: &Model, errors: &mut Errors) {
    for parameter in &model.generics.params {
        let message = match parameter {
            GenericParam::Lifetime(_) => {
                "a model cannot borrow: its rows outlive the call that reads them (use `String` in place of `&str`)"
            }
            _ => "a model cannot be generic: one table and one set of statements belong to one type",
        };
        errors.at(parameter, message);
    }
}

/// Refuses other words on a skipped field.
///
/// There is no column that they could be about.
fn skipped_means_nothing_else(field: &Field, errors: &mut Errors) {
    for word in [&field.attrs.generated, &field.attrs.create_only].into_iter().flatten() {
        errors.at(word, format!("`{}` is `#[sqlx(skip)]`, so it is not a column that could be `{word}`", field.name()));
    }
}

/// Refuses `create_only` on a generated column.
///
/// `create_only` says when a column is written, and a generated one never is.
fn generated_is_never_written(field: &Field, errors: &mut Errors) {
    if let (true, Some(word)) = (field.is_generated(), &field.attrs.create_only) {
        errors.at(
            word,
            format!("`{}` is `generated`: no statement writes it, so it cannot be `create_only`", field.name()),
        );
    }
}

/// Refuses a `rename` to what no column can be called.
///
/// sqlx takes any text for the name of a column that it reads.
fn column_has_a_name(field: &Field, errors: &mut Errors) {
    if let Some(rename) = &field.attrs.rename {
        check_identifier(rename, errors);
    }
}

/// Refuses `flatten` and `try_from` on a column.
///
/// Both attributes tell sqlx how to read a value and say nothing of how to write it back.
fn read_as_it_is_written(field: &Field, errors: &mut Errors) {
    if let Some(flatten) = &field.attrs.flatten {
        errors.at(
            flatten,
            "a field of a model is one column, and `flatten` makes it several: write the columns as fields of this \
            struct, or `skip` the field",
        );
    } else if let Some(try_from) = &field.attrs.try_from {
        errors.at(
            try_from,
            format!(
                "`try_from` says how `{}` is read and not how it is written: implement `sqlx::Type`, `Encode` and \
                `Decode` for its type, as `#[derive(sqlx::Type)] #[sqlx(transparent)]` does",
                field.name()
            ),
        );
    }
}

/// Refuses two columns of one name.
///
/// A statement that names a column twice is an error in every database.
fn columns_have_different_names(model: &Model, errors: &mut Errors) {
    let mut seen: HashMap<&str, &Field> = HashMap::new();
    for field in model.columns() {
        if let Some(other) = seen.get(field.column.as_str()) {
            let message = format!("`{}` and `{}` are both the column `{}`", other.name(), field.name(), field.column);
            match (&field.attrs.rename, &other.attrs.rename) {
                (Some(rename), _) | (None, Some(rename)) => errors.at(rename, message),
                (None, None) => errors.at(&field.ident, message),
            }
        } else {
            seen.insert(&field.column, field);
        }
    }
}

/// Refuses `new(..)` where the model is the new row.
///
/// It describes a type that is written only when it differs from the model.
fn new_is_written(model: &Model, errors: &mut Errors) {
    if let (Some(new), false) = (&model.new, model.has_new()) {
        errors.at(
            &new.tokens,
            format!(
                "no field is `#[upsertable(generated)]`, so `{}` itself is the new row and `new(..)` has nothing \
            to describe",
                model.ident
            ),
        );
    }
}

/// Refuses two types of one name.
///
/// The types stand side by side in the module of the model.
fn types_have_different_names(model: &Model, errors: &mut Errors) {
    let mut seen: HashMap<String, &str> = HashMap::from([(model.ident.unraw().to_string(), "the model")]);
    let new = model.new_ident();
    if model.has_new() && seen.insert(new.unraw().to_string(), "the type of new rows").is_some() {
        errors.at(new, "the type of new rows needs a name other than the model's");
    }
    for key in &model.keys {
        let name = key.ident.unraw().to_string();
        if let Some(other) = seen.get(&name) {
            let help = "give this key another with `key = ..`";
            errors.at(key.place(), format!("`{name}` is already the name of {other}: {help}"));
        } else {
            seen.insert(name, "another key");
        }
    }
}

/// Refuses a key without fields.
///
/// No index is on no column. A key whose fields could not be read was reported.
fn key_has_fields(key: &UniqueKey, errors: &mut Errors) {
    if key.fields.is_empty() && !key.reported {
        errors.at(&key.attr, "this key is empty: name the fields of a unique index, as in `#[unique(a, b)]`");
    }
}

/// Refuses a skipped field in a key.
///
/// An index is on columns, and a skipped field is none.
fn key_is_of_columns(model: &Model, key: &UniqueKey, errors: &mut Errors) {
    for (written, field) in model.named_by(key) {
        if !field.is_column() {
            let name = field.name();
            errors.at(written, format!("`{name}` is `#[sqlx(skip)]`, so it is not a column and no key can contain it"));
        }
    }
}

/// Refuses a key with a column that can be NULL.
///
/// NULL is not equal to NULL in a unique index, so such a key would let the same row in again and again.
fn keys_are_not_null(model: &Model, errors: &mut Errors) {
    for field in model.columns().filter(|field| field.nullable() == Nullable::Yes && model.must_not_be_null(field)) {
        errors.at(&field.ty, null_in_key(field));
    }
}

/// The message for a column in a key that can be NULL.
///
/// The code that the derive writes gives it too, for an `Option` behind an alias.
pub(crate) fn null_in_key(field: &Field) -> String {
    format!(
        "`{}` is part of a key and can be NULL, and a unique index lets any number of NULLs in: use a type that is \
        not an `Option`, or `#[unique(.., nulls_not_distinct)]` where the index is `NULLS NOT DISTINCT` (PostgreSQL \
        15 and later)",
        field.name()
    )
}

/// Refuses two keys of the same columns.
///
/// They are one index.
fn keys_differ(model: &Model, errors: &mut Errors) {
    let mut seen: Vec<Vec<usize>> = Vec::new();
    for key in model.keys.iter().filter(|key| !key.fields.is_empty() && !key.reported) {
        let mut columns: Vec<usize> = key.fields.iter().map(|field| field.index).collect();
        columns.sort_unstable();
        if seen.contains(&columns) {
            errors.at(&key.attr, "another `#[unique(..)]` names the same fields");
        } else {
            seen.push(columns);
        }
    }
}

/// Refuses `create_only` in the first key.
///
/// An upsert finds the row by that key, so it never changes its columns anyway.
fn first_key_is_never_updated(model: &Model, errors: &mut Errors) {
    let Some(key) = model.keys.first() else { return };
    for (_, field) in model.named_by(key) {
        let is_supplied = field.is_column() && !field.is_generated();
        if let (true, Some(word)) = (is_supplied, &field.attrs.create_only) {
            let name = field.name();
            errors.at(
                word,
                format!("`{name}` is part of the first key, which an upsert never changes: leave `create_only` out"),
            );
        }
    }
}

/// Refuses a model without supplied columns.
///
/// A row of nothing has nothing to be found by. Returns true if the model has supplied columns.
fn some_column_is_supplied(model: &Model, errors: &mut Errors) -> bool {
    let supplied = model.supplied().next().is_some();
    if !supplied {
        let name = &model.ident;
        let message = match model.columns().next() {
            None => format!("`{name}` has no fields that are columns"),
            Some(_) => format!("every field of `{name}` is `generated`, which leaves nothing for a new row to say"),
        };
        errors.at(name, message);
    }
    supplied
}

/// Refuses a model without a key.
///
/// A row is looked for by its key.
fn has_a_key(model: &Model, errors: &mut Errors) {
    if model.keys.is_empty() {
        let names: Vec<String> = model.supplied().map(|(_, field)| field.name()).collect();
        errors.at(
            &model.ident,
            format!(
                "`{}` has no key: say which fields a unique index of its table is on, as in `#[unique({})]` (it has \
                {})",
                model.ident,
                names.first().map_or("field", String::as_str),
                list(&names, "and")
            ),
        );
    }
}

/// Refuses a generated column in the first key.
///
/// Rows are created by that key, so a caller must be able to say it.
fn first_key_is_supplied(model: &Model, errors: &mut Errors) {
    let Some(key) = model.keys.first() else { return };
    let generated = model.named_by(key).find(|(_, field)| field.is_column() && field.is_generated());
    if let Some((written, field)) = generated {
        let name = field.name();
        errors.at(
            written,
            format!(
                "`{name}` is `generated`, and rows are created by the first `#[unique(..)]`: put one of supplied \
            fields before this one, which is then a key to find by"
            ),
        );
    }
}
