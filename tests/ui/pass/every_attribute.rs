//! Every attribute that there is, under every lint that is not off because it is about something else: clippy sees it as the program `lints`.
#![deny(warnings)]
#![deny(
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    closure_returning_async_block,
    deprecated_in_future,
    deprecated_safe_2024,
    deref_into_dyn_supertrait,
    edition_2024_expr_fragment_specifier,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    if_let_rescope,
    impl_trait_overcaptures,
    impl_trait_redundant_captures,
    keyword_idents_2018,
    keyword_idents_2024,
    let_underscore_drop,
    linker_messages,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    missing_unsafe_on_extern,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    rust_2021_incompatible_closure_captures,
    rust_2024_incompatible_pat,
    single_use_lifetimes,
    tail_expr_drop_order,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_attr_outside_unsafe,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    unstable_features,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
#![expect(clippy::blanket_clippy_restriction_lints, reason = "nobody turns all of them on, and anybody any of them")]
// What a user's struct cannot satisfy, the types beside it cannot either: where the lint is allowed for it, it is for them.
#![expect(clippy::arbitrary_source_item_ordering, reason = "fields are in the order of the struct's")]

/// What is imported here is named by the derive as well, by paths of its own.
pub mod models {
    use core::{fmt::Debug, marker::PhantomData};
    use std::collections::HashMap;

    use serde::{Deserialize, Serialize};
    use sqlx::{FromRow, types::Json};
    use upsertable::{self as rows, Backend, Holds, HoldsKey, On, Reads, UniqueKey, Upsertable};

    /// A value of JSON.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[non_exhaustive]
    pub struct Cover {
        /// Where it is.
        pub url: String,
    }

    /// Behind an alias, so that only the compiler knows what it is.
    pub type Slug = String;

    /// The same of an `Option`.
    pub type Text = Option<String>;

    /// All that can be said. Of two keys that share a field, the second has a name: without it, clippy takes the field for a duplicate.
    #[derive(Debug, Clone, FromRow, Serialize, Upsertable)]
    #[upsertable(table = "Songs of \"All\"", schema = "main", crate = "rows")]
    #[upsertable(new(name = SongInput, derive(Default, PartialEq, Eq, Serialize, Deserialize)))]
    #[sqlx(rename_all = "camelCase")]
    #[serde(rename_all = "camelCase")]
    #[unique(slug)]
    #[unique(title, artist, nulls_not_distinct)]
    #[unique(slug, title, key = BySlugAndTitle)]
    #[unique(title, plays, nulls_not_distinct, key = ByTitleAndPlays)]
    #[unique(id)]
    #[expect(clippy::exhaustive_structs, reason = "those who make one name each column")]
    pub struct Song {
        /// What the database calls it.
        #[upsertable(generated)]
        pub id: i64,
        /// What its address ends in.
        pub slug: Slug,
        /// What it is called.
        #[sqlx(rename = "name")]
        pub title: String,
        /// Who plays it, when that is known.
        #[upsertable(create_only)]
        pub artist: Option<String>,
        /// How often.
        #[sqlx(default)]
        #[serde(default)]
        pub plays: i32,
        /// What it looks like.
        #[sqlx(json)]
        pub cover: Cover,
        /// What it looked like.
        #[sqlx(json(nullable))]
        pub old_cover: Option<Cover>,
        /// The same, of another type.
        #[sqlx(json(nullable))]
        pub covers: Option<HashMap<String, Cover>>,
        /// What is said of it.
        pub text: Text,
        /// Nobody sees it.
        #[sqlx(skip)]
        #[serde(skip)]
        pub seen: PhantomData<Json<u8>>,
        /// Of which kind it is.
        #[upsertable(create_only)]
        #[cfg_attr(all(), sqlx(rename = "kind"))]
        pub r#type: bool,
        /// Not there.
        #[cfg(any())]
        pub gone: Nothing,
    }

    /// Closed to others. Nobody makes a new row of it, nor a key.
    #[derive(Debug, Clone, PartialEq, Eq, FromRow, Upsertable)]
    #[unique(number, part)]
    pub struct Chapter {
        /// What the database calls it.
        #[upsertable(generated)]
        id: i64,
        /// Which one it is.
        number: i64,
        /// Which part of it.
        part: String,
    }

    /// Its own new row, with a key that could be copied.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow, Upsertable)]
    #[unique(number)]
    #[expect(clippy::field_scoped_visibility_modifiers, reason = "for a test")]
    pub struct Page {
        /// Which one it is.
        pub(crate) number: i64,
        /// Who may see it.
        pub(crate) level: i16,
    }

    /// What is said of a field is said of it in the other types, too.
    #[expect(deprecated, reason = "sqlx's derive reads them")]
    pub mod older {
        use sqlx::FromRow;
        use upsertable::Upsertable;

        /// From former times.
        #[derive(Debug, Clone, FromRow, Upsertable)]
        #[unique(slug)]
        #[deprecated(note = "there is another")]
        #[expect(clippy::exhaustive_structs, reason = "those who make one name each column")]
        pub struct Tune {
            /// What the database calls it.
            #[upsertable(generated)]
            pub id: i64,
            /// What its address ends in.
            pub slug: String,
            /// How often.
            #[deprecated(note = "nobody counts")]
            pub plays: i64,
        }
    }

    /// Everything that is imported is named.
    pub trait Works<DB: Backend + Reads<Page> + HoldsKey<i64> + Holds<i16>>: On<DB> + Debug
    where
        Self::Key: UniqueKey<Self>,
    {
    }

    impl Works<sqlx::Sqlite> for Page {}
}

fn main() {}
