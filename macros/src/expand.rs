//! A model without mistakes as Rust: constants, and one call a field. It cannot fail.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Path, Type, ext::IdentExt as _, spanned::Spanned as _};

use crate::{
    ast::{Field, Model, UniqueKey},
    attr::Json,
    check,
    errors::Errors,
    fallback, types,
};

pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let input = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.to_compile_error(),
    };
    let mut errors = Errors::default();
    let model = Model::read(input, &mut errors);
    check::check(&model, &mut errors);
    match &model.krate {
        Some(krate) if errors.is_empty() => expand(&model, krate),
        _ => fallback::expand(&model, &errors),
    }
}

fn expand(model: &Model, krate: &Path) -> TokenStream {
    let up = &quote!(__up);
    let new = types::new(model);
    let keys = model.keys.iter().map(|key| types::key(model, key));
    let allows = allows(model);
    let table = table(model, up);
    let upsertable = upsertable(model, up);
    let key_impls = model.keys.iter().enumerate().map(|(index, key)| key_impls(model, index, key, up));
    let on = on(model, up);
    let not_null = not_null(model, up);
    quote! {
        #new
        #(#keys)*
        #[doc(hidden)]
        #(#allows)*
        const _: () = {
            use #krate::__private as #up;
            use #up::Plain as _;
            #table
            #upsertable
            #(#key_impls)*
            #on
            #not_null
        };
    }
}

/// What the user allows for the types of fields holds where they are named again.
fn allows(model: &Model) -> impl Iterator<Item = &syn::Attribute> {
    model.fields.iter().map(|field| &field.carried).chain([&model.carried]).flat_map(|carried| &carried.allows)
}

fn table(model: &Model, up: &TokenStream) -> TokenStream {
    let (name, table) = (model.ident.unraw().to_string(), &model.table);
    let schema = model
        .schema
        .as_ref()
        .map_or_else(|| quote!(::core::option::Option::None), |schema| quote!(::core::option::Option::Some(#schema)));
    let columns = model.columns().map(|field| column(field, up));
    let keys = model.keys.iter().map(|key| {
        let name = key.ident.unraw().to_string();
        let columns = model.columns_of(key).map(|(index, _)| index);
        let nulls_not_distinct = key.nulls_not_distinct;
        quote!(#up::Key { name: #name, columns: &[#(#columns),*], nulls_not_distinct: #nulls_not_distinct })
    });
    quote! {
        const __COLUMNS: &[#up::Column] = &[#(#columns),*];
        const __KEYS: &[#up::Key] = &[#(#keys),*];
        static __TABLE: #up::Table = #up::Table::new(#name, #schema, #table, __COLUMNS, __KEYS);
    }
}

fn column(field: &Field, up: &TokenStream) -> TokenStream {
    let (name, column, ty) = (field.name(), &field.column, &field.ty);
    let generated = field.attrs.generated.is_some();
    let create_only = field.attrs.create_only.is_some();
    let nullable = match field.attrs.json {
        Some(json) => (json == Json::SqlNull).to_token_stream(),
        None if is_plain(ty) => quote!(false),
        None => quote!(#up::Probe::<#ty>::NULLABLE),
    };
    quote! {
        #up::Column {
            field: #name, name: #column, generated: #generated, create_only: #create_only, nullable: #nullable
        }
    }
}

fn upsertable(model: &Model, up: &TokenStream) -> TokenStream {
    let (ident, new) = (types::here(&model.ident), types::here(&model.new_ident()));
    let first = model.keys.first().map(|key| {
        let (ident, fields) = (types::here(&key.ident), model.fields_of(key).map(|field| types::here(&field.ident)));
        let fields = fields.map(|field| quote!(#field: ::core::clone::Clone::clone(&self.#field)));
        (quote!(#ident), quote!(#ident { #(#fields),* }))
    });
    let (key, value) = first.unwrap_or_default();
    quote! {
        #[automatically_derived]
        impl #up::Upsertable for #ident {
            type New = #new;
            type Key = #key;
            #[inline]
            fn table() -> &'static #up::Table { &__TABLE }
            #[inline]
            fn key(&self) -> #key { #value }
        }
    }
}

fn key_impls(model: &Model, index: usize, key: &UniqueKey, up: &TokenStream) -> TokenStream {
    let (model_ident, ident) = (types::here(&model.ident), types::here(&key.ident));
    let create = model.creates(key).then(|| {
        let new = types::here(&model.new_ident());
        let fields = model.fields_of(key).map(|field| types::here(&field.ident));
        quote! {
            #[automatically_derived]
            impl #up::CreateKey<#model_ident> for #ident {
                #[inline]
                fn store(self, __new: &mut #new) { #(__new.#fields = self.#fields;)* }
            }
        }
    });
    // The first key's is the trait's own.
    let index = (index > 0).then(|| quote!(const INDEX: ::core::primitive::usize = #index;));
    quote! {
        #[automatically_derived]
        impl #up::UniqueKey<#model_ident> for #ident {
            #index
        }
        #create
    }
}

/// One function for all that is done with values, as the compiler proves the bounds for each function anew.
fn on(model: &Model, up: &TokenStream) -> TokenStream {
    let ident = types::here(&model.ident);
    let bounds = bounds(model, up);
    let supplied = model.supplied().map(|(index, field)| put(index, field, &quote!(__new)));
    let keys = model.keys.iter().map(|key| {
        let ident = types::here(&key.ident);
        let columns = model.columns_of(key).map(|(index, field)| put(index, field, &quote!(__key)));
        quote! {
            if let ::core::option::Option::Some(__key) = __key.downcast_ref::<#ident>() { #(#columns)* }
        }
    });
    let types = model.columns().map(|field| {
        let ty = written(field);
        quote!(__types.put::<#ty>();)
    });
    let read_key = read_key(model);
    quote! {
        #[automatically_derived]
        impl<__DB: #up::Backend> #up::On<__DB> for #ident
        where
            #(#bounds,)*
            __DB: #up::Reads<#ident>,
        {
            fn work(__work: #up::Work<'_, '_, __DB, Self>) {
                match __work {
                    #up::Work::Put(__new, __values) => { #(#supplied)* }
                    #up::Work::PutKey(__key, __values) => { #(#keys)* }
                    #up::Work::Types(__types) => { #(#types)* }
                    #up::Work::Read(__row) => __row.read(),
                    #up::Work::ReadKey(__row, __key) => { #read_key }
                }
            }
        }
    }
}

/// The first key, read by itself, so that a row of which another column cannot be read is known by its key. Columns of JSON have no order
/// to page by.
fn read_key(model: &Model) -> Option<TokenStream> {
    let key = model.keys.first().filter(|key| model.fields_of(key).all(|field| field.attrs.json.is_none()))?;
    let ident = types::here(&key.ident);
    let (values, columns): (Vec<_>, Vec<_>) = model.columns_of(key).map(|(index, _)| (variable(index), index)).unzip();
    let fields = model.columns_of(key).map(|(_, field)| types::here(&field.ident));
    Some(quote! {
        if let (#(::core::option::Option::Some(#values),)*) = (#(__row.get(#columns),)*) {
            *__key = ::core::option::Option::Some(#ident { #(#fields: #values),* });
        }
    })
}

fn variable(index: usize) -> Ident {
    format_ident!("__v{index}")
}

/// One bound for each type of a column, in the place of the type: the compiler's note is then on the field.
fn bounds(model: &Model, up: &TokenStream) -> Vec<TokenStream> {
    let of_first_key: HashSet<String> = model
        .keys
        .first()
        .into_iter()
        .flat_map(|key| model.fields_of(key))
        .filter(|field| field.attrs.json.is_none())
        .map(|field| field.ty.to_token_stream().to_string())
        .collect();
    let mut seen = HashSet::new();
    let mut bounds = Vec::new();
    for field in model.columns() {
        let (ty, span) = (&field.ty, field.ty.span());
        let up = in_place(up.clone(), span);
        let held = |ty: TokenStream| quote_spanned!(span=> __DB: #up::Holds<#ty>);
        let of_key = of_first_key.contains(&ty.to_token_stream().to_string());
        let borrowed = || quote_spanned!(span=> for<'r> __DB: #up::Holds<::sqlx::types::Json<&'r #ty>>);
        let held = match field.attrs.json {
            None if of_key => vec![quote_spanned!(span=> __DB: #up::HoldsKey<#ty>)],
            None => vec![held(ty.to_token_stream())],
            Some(Json::Null) => vec![borrowed()],
            Some(Json::SqlNull) => vec![borrowed(), held(in_place(no_json(), span))],
        };
        bounds.extend(held.into_iter().filter(|bound| seen.insert(bound.to_string())));
    }
    bounds
}

/// The type of a column: sqlx reads JSON through a wrapper, and what is written borrows from the row.
fn written(field: &Field) -> TokenStream {
    let ty = &field.ty;
    match field.attrs.json {
        None => ty.to_token_stream(),
        Some(Json::Null) => quote!(::sqlx::types::Json<&#ty>),
        Some(Json::SqlNull) => no_json(),
    }
}

/// The type of NULL in a column of JSON. Not `Option<Json<&T>>`, as sqlx asks an `Option` to outlive every statement.
fn no_json() -> TokenStream {
    quote!(::core::option::Option<::sqlx::types::Json<()>>)
}

fn put(index: usize, field: &Field, row: &TokenStream) -> TokenStream {
    let ident = types::here(&field.ident);
    let json = quote!(::sqlx::types::Json(&#row.#ident));
    match field.attrs.json {
        None => quote!(__values.put(#index, &#row.#ident);),
        Some(Json::Null) => quote!(__values.put(#index, &#json);),
        Some(Json::SqlNull) => {
            let null = no_json();
            quote! {
                match &#row.#ident {
                    ::core::option::Option::Some(_) => __values.put(#index, &#json),
                    ::core::option::Option::None => __values.put::<#null>(#index, &::core::option::Option::None),
                }
            }
        }
    }
}

/// Whether the type goes by the name of one that is no `Option`. To find out costs the compiler more than any other word about a column.
fn is_plain(ty: &Type) -> bool {
    const PLAIN: [&str; 15] =
        ["String", "bool", "char", "f32", "f64", "i128", "i16", "i32", "i64", "i8", "u128", "u16", "u32", "u64", "u8"];
    let Type::Path(path) = ty else { return false };
    path.path.get_ident().is_some_and(|ident| PLAIN.iter().any(|plain| ident == plain))
}

/// Catches a key column whose `Option` is behind an alias.
fn not_null(model: &Model, up: &TokenStream) -> TokenStream {
    let may_be_null = |field: &&Field| field.attrs.json.is_none() && !is_plain(&field.ty);
    model
        .columns()
        .filter(|field| may_be_null(field) && model.must_not_be_null(field))
        .map(|field| {
            let (ty, span) = (&field.ty, field.ty.span());
            let up = in_place(up.clone(), span);
            let message = check::null_in_key(field);
            quote_spanned!(span=> const _: () = ::core::assert!(!#up::Probe::<#ty>::NULLABLE, #message);)
        })
        .collect()
}

/// The tokens as if they stood at the span, so that an error about them points there as a whole.
fn in_place(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.into_iter().map(moved).collect()
}
