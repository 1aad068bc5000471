#![no_implicit_prelude]
#![deny(warnings)]

#[derive(Debug, Clone, PartialEq, ::sqlx::FromRow, ::upsertable::Upsertable)]
#[unique(slug)]
#[unique(id)]
pub struct Song {
    #[upsertable(generated)]
    pub id: i64,
    pub slug: ::std::string::String,
    pub artist: ::core::option::Option<::std::string::String>,
    #[sqlx(json(nullable))]
    pub tags: ::core::option::Option<::std::vec::Vec<::std::string::String>>,
}

use ::std::{clone::Clone, cmp::PartialEq, fmt::Debug};

fn main() {}
