//! Writes a model without mistakes as Rust.
//!
//! It consists of constants, and one call a field. It cannot fail.

pub(crate) mod structs;

use std::borrow::Cow;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Type, ext::IdentExt as _, spanned::Spanned as _};

use self::structs::Struct;
use crate::{
    attr::Json,
    model::{Field, Model, Nullable, UniqueKey},
    validate::null_in_key,
};

/// Writes a model that was validated.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let krate = &model.krate;
    let beside: Vec<Struct<'_>> =
        structs::new(model).into_iter().chain(model.keys.iter().map(|key| structs::key(model, key))).collect();
    let types = beside.iter().map(Struct::without_impls);
    let clone = beside.iter().map(Struct::clone);
    let debug = beside.iter().map(Struct::debug);
    let allows = allows(model);
    let upsertable = upsertable(model);
    let key_impls = model.keys.iter().enumerate().map(|(index, key)| key_impls(model, index, key));
    let on = on(model);
    let not_null = not_null(model);
    let plain = model.columns().any(|field| field.nullable() == Nullable::Unknown).then(|| {
        quote!(
            use __up::NotAnOption as _;
        )
    });
    quote! {
        #(#types)*
        #[doc(hidden)]
        #(#allows)*
        const _: () = {
            use #krate::__private as __up;
            #plain
            #(#clone)*
            #(#debug)*
            #upsertable
            #(#key_impls)*
            #on
            #not_null
        };
    }
}

/// The user's `allow` attributes for the types of fields.
///
/// They hold where the types are named again.
fn allows(model: &Model) -> impl Iterator<Item = &syn::Attribute> {
    model.fields.iter().map(|field| &field.forwarded).chain([&model.forwarded]).flat_map(|forwarded| &forwarded.allows)
}

/// The table as one text.
///
/// The compiler makes less of a text than of constants. A name cannot contain the NUL that ends each item.
fn table(model: &Model) -> TokenStream {
    let mut text = format!("model {}\0", model.ident.unraw());
    if let Some(schema) = &model.schema {
        text.extend(["schema ", schema, "\0"]);
    }
    text.extend(["table ", &model.table]);
    let mut asked = Vec::new();
    for field in model.columns() {
        let name = field.name();
        text.extend(["\0column ", &name]);
        for (word, is_set) in [("generated", &field.attrs.generated), ("create_only", &field.attrs.create_only)] {
            if is_set.is_some() {
                text.extend([" ", word]);
            }
        }
        match field.nullable() {
            Nullable::No => {}
            Nullable::Yes => text.push_str(" nullable"),
            Nullable::Unknown => {
                text.push_str(" asked");
                let ty = &field.ty;
                asked.push(quote!(__up::OptionProbe::<#ty>::NULLABLE));
            }
        }
        if field.column != name {
            text.extend(["\0named ", &field.column]);
        }
    }
    for key in &model.keys {
        text.push_str("\0key");
        for (index, _) in model.columns_of(key) {
            text.extend([" ", &index.to_string()]);
        }
        if key.nulls_not_distinct {
            text.push_str(" nulls_not_distinct");
        }
    }
    let nullable =
        (!asked.is_empty()).then(|| quote!(const NULLABLE: &'static [::core::primitive::bool] = &[#(#asked),*];));
    quote! {
        const TABLE: &'static ::core::primitive::str = #text;
        #nullable
    }
}

fn upsertable(model: &Model) -> TokenStream {
    let (ident, new) = (structs::here(&model.ident), structs::here(&model.new_ident()));
    let first = model.keys.first().map(|key| {
        let (ident, fields) = (structs::here(&key.ident), model.fields_of(key).map(structs::copy));
        (quote!(#ident), quote!(#ident { #(#fields),* }))
    });
    let (key, value) = first.unwrap_or_default();
    let table = table(model);
    quote! {
        #[automatically_derived]
        impl __up::Model for #ident {
            type New = #new;
            type Key = #key;
            #table
            #[inline]
            fn unique_key(&self) -> #key { #value }
        }
    }
}

fn key_impls(model: &Model, index: usize, key: &UniqueKey) -> TokenStream {
    let (model_ident, ident) = (structs::here(&model.ident), structs::here(&key.ident));
    let create = model.creates(key).then(|| {
        let new = structs::here(&model.new_ident());
        let fields = model.fields_of(key).map(|field| structs::here(&field.ident));
        quote! {
            #[automatically_derived]
            impl __up::CreateKey<#model_ident> for #ident {
                #[inline]
                fn store(self, __new: &mut #new) { #(__new.#fields = self.#fields;)* }
            }
        }
    });
    // The first key's is the trait's own.
    let index = (index > 0).then(|| quote!(const INDEX: ::core::primitive::usize = #index;));
    quote! {
        #[automatically_derived]
        impl __up::UniqueKey<#model_ident> for #ident {
            #index
        }
        #create
    }
}

/// One function for all that is done with values.
///
/// The compiler proves the bounds for each function anew.
fn on(model: &Model) -> TokenStream {
    let ident = structs::here(&model.ident);
    let bounds = bounds(model);
    let supplied = put(model.supplied(), "__new");
    let put_key = |key| put(model.columns_of(key), "__key");
    let first = model.keys.first().map(put_key);
    let others = model.keys.iter().skip(1).map(|key| {
        let (ident, columns) = (structs::here(&key.ident), put_key(key));
        quote! {
            if let __up::Some(__key) = __key.of::<#ident>() { #columns }
        }
    });
    let types: Vec<Cow<'_, Type>> = model.columns().map(written).collect();
    let types = types.chunks(structs::AT_ONCE);
    let read_key = read_key(model);
    quote! {
        #[automatically_derived]
        impl<__DB: __up::Backend> __up::On<__DB> for #ident
        where
            #(#bounds,)*
            __DB: __up::Reads<#ident>,
        {
            fn work(__work: __up::RowOperation<'_, '_, __DB, Self>) {
                match __work {
                    __up::Put(__new, __values) => { #supplied }
                    __up::PutKey(__key, __values) => { #first }
                    __up::PutOther(__key, __values) => { #(#others)* }
                    __up::Types(__types) => { #(__types.put_all::<(#(#types,)*)>();)* }
                    __up::Read(__row) => __row.read(),
                    __up::ReadKey(__row, __key) => { #read_key }
                }
            }
        }
    }
}

/// Code that reads the first key by itself.
///
/// So a row of which another column cannot be read is known by its key. Columns of JSON have no order to page by.
fn read_key(model: &Model) -> Option<TokenStream> {
    let key = model.keys.first().filter(|key| model.fields_of(key).all(|field| field.attrs.json.is_none()))?;
    let ident = structs::here(&key.ident);
    let (values, fields): (Vec<_>, Vec<_>) =
        model.columns_of(key).map(|(index, field)| (format_ident!("__v{index}"), structs::here(&field.ident))).unzip();
    let parts = values.chunks(structs::AT_ONCE).map(|values| quote!(__up::Some((#(#values,)*))));
    let reads = (0..values.len()).step_by(structs::AT_ONCE).map(|first| quote!(__row.get_all(#first)));
    let tuple =
        |parts: Vec<TokenStream>| if let [one] = parts.as_slice() { one.clone() } else { quote!((#(#parts),*)) };
    let (parts, reads) = (tuple(parts.collect()), tuple(reads.collect()));
    Some(quote! {
        if let #parts = #reads {
            *__key = __up::Some(#ident { #(#fields: #values),* });
        }
    })
}

/// One bound for each type of a column.
///
/// It stands in the place of the type: the compiler's note is then on the field. Lints take it for the user's, so its names are ones that
/// nobody imports.
fn bounds(model: &Model) -> Vec<TokenStream> {
    let columns: Vec<(&Field, String)> =
        model.columns().map(|field| (field, field.ty.to_token_stream().to_string())).collect();
    let of_first_key = |field: &Field| {
        let mut keys = model.keys.first().into_iter();
        field.attrs.json.is_none() && keys.any(|key| model.fields_of(key).any(|of_key| std::ptr::eq(of_key, field)))
    };
    let key_types: Vec<&str> =
        columns.iter().filter(|(field, _)| of_first_key(field)).map(|(_, name)| name.as_str()).collect();
    let mut seen: Vec<(bool, &str)> = Vec::new();
    let mut has_null = false;
    let mut bounds = Vec::new();
    for (field, name) in &columns {
        let json = field.attrs.json.is_some();
        let is_new = !seen.contains(&(json, name));
        seen.push((json, name));
        let (ty, span) = (&field.ty, field.ty.span());
        match field.attrs.json {
            None if !is_new => {}
            None if key_types.contains(&name.as_str()) => {
                bounds.push(quote_spanned!(span=> __DB: __up::CanHoldKey<#ty>));
            }
            None => bounds.push(quote_spanned!(span=> __DB: __up::CanHold<#ty>)),
            Some(json) => {
                if is_new {
                    bounds.push(quote_spanned!(span=> for<'row> __DB: __up::CanHold<::sqlx::types::Json<&'row #ty>>));
                }
                if json == Json::SqlNull && !has_null {
                    has_null = true;
                    let ty = in_place(no_json(), span);
                    bounds.push(quote_spanned!(span=> __DB: __up::CanHold<#ty>));
                }
            }
        }
    }
    bounds
}

/// The type in which a column is written.
///
/// sqlx reads JSON through a wrapper, and what is written borrows from the row.
fn written(field: &Field) -> Cow<'_, Type> {
    let ty = &field.ty;
    match field.attrs.json {
        None => Cow::Borrowed(ty),
        Some(Json::Null) => Cow::Owned(Type::Verbatim(quote!(::sqlx::types::Json<&#ty>))),
        Some(Json::SqlNull) => Cow::Owned(Type::Verbatim(no_json())),
    }
}

/// The type of NULL in a column of JSON.
///
/// It is not `Option<Json<&T>>`, as sqlx asks an `Option` to outlive every statement.
fn no_json() -> TokenStream {
    quote!(__up::Maybe<::sqlx::types::Json<()>>)
}

/// Code that writes columns of a row.
///
/// Those that follow one another are put by one call; JSON goes through a wrapper, and by itself.
fn put<'a>(columns: impl Iterator<Item = (usize, &'a Field)>, row: &str) -> TokenStream {
    let row = &Ident::new(row, Span::call_site());
    let mut calls = TokenStream::new();
    let mut run = Run::default();
    for (index, field) in columns {
        let ident = structs::here(&field.ident);
        let Some(json) = field.attrs.json else {
            run.push(index, ident, row, &mut calls);
            continue;
        };
        run.end(row, &mut calls);
        let value = quote!(&::sqlx::types::Json(&#row.#ident));
        calls.extend(match json {
            Json::Null => quote!(__values.put(#index, #value);),
            Json::SqlNull => {
                let null = no_json();
                quote! {
                    match &#row.#ident {
                        __up::Some(_) => __values.put(#index, #value),
                        __up::None => __values.put::<#null>(#index, &__up::None),
                    }
                }
            }
        });
    }
    run.end(row, &mut calls);
    calls
}

/// Columns that follow one another.
#[derive(Default)]
struct Run {
    first: usize,
    fields: Vec<Ident>,
}

impl Run {
    fn push(&mut self, index: usize, field: Ident, row: &Ident, calls: &mut TokenStream) {
        if index != self.first + self.fields.len() || self.fields.len() == structs::AT_ONCE {
            self.end(row, calls);
        }
        if self.fields.is_empty() {
            self.first = index;
        }
        self.fields.push(field);
    }

    fn end(&mut self, row: &Ident, calls: &mut TokenStream) {
        let (first, fields) = (self.first, std::mem::take(&mut self.fields));
        match fields.as_slice() {
            [] => {}
            [field] => calls.extend(quote!(__values.put(#first, &#row.#field);)),
            fields => calls.extend(quote!(__values.put_all(#first, (#(&#row.#fields),*));)),
        }
    }
}

/// Catches a key column whose `Option` is behind an alias.
fn not_null(model: &Model) -> TokenStream {
    model
        .columns()
        .filter(|field| field.nullable() == Nullable::Unknown && model.must_not_be_null(field))
        .map(|field| {
            let (ty, span) = (&field.ty, field.ty.span());
            let message = null_in_key(field);
            quote_spanned!(span=> const _: () = ::core::assert!(!__up::OptionProbe::<#ty>::NULLABLE, #message);)
        })
        .collect()
}

/// Moves the tokens to the span.
///
/// An error about them then points there as a whole.
fn in_place(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(moved).collect()
}
