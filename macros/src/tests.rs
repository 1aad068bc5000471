//! Tests of the derive's errors, and of what it writes.

use std::str::FromStr as _;

use heck::{ToKebabCase as _, ToLowerCamelCase as _, ToShoutySnakeCase as _, ToSnakeCase as _, ToUpperCamelCase as _};
use proc_macro2::TokenStream;
use proptest::prelude::*;

use crate::{
    case::RenameAll,
    derive,
    errors::{Errors, list, nearest},
    model::Model,
    validate::validate,
};

/// The mistakes in a model, with their tokens and messages.
///
/// The tokens are those that a mistake is reported on.
fn mistakes(input: &str) -> Vec<(String, String)> {
    let mut errors = Errors::default();
    let tokens = TokenStream::from_str(input).unwrap();
    let model = Model::parse(syn::parse2(tokens).unwrap(), &mut errors);
    validate(&model, &mut errors);
    errors.iter().map(|error| (error.span().source_text().unwrap_or_default(), error.to_string())).collect()
}

#[track_caller]
fn one_mistake(input: &str, on: &str, says: &str) {
    let found = mistakes(input);
    let [(tokens, message)] = found.as_slice() else { panic!("expected one mistake: {found:#?}") };
    assert_eq!(tokens, on, "{message}");
    assert!(message.contains(says), "{message}");
}

/// A model with these attributes and three fields.
///
/// Of these `id` is generated.
fn model(attrs: &str) -> String {
    format!("{attrs} struct Song {{ #[upsertable(generated)] id: i64, slug: String, title: String }}")
}

/// A model with the key `slug` and this field.
fn field(field: &str) -> String {
    format!("#[unique(slug)] struct Song {{ slug: String, {field} }}")
}

#[test]
fn a_model_without_mistakes() {
    assert_eq!(mistakes(&model("#[unique(slug)]")), []);
    assert_eq!(mistakes(&model("#[unique(title, slug)] #[unique(id)] #[unique(slug, key = BySlug,)]")), []);
    assert_eq!(
        mistakes(&model(r#"#[upsertable(table = "songs", schema = "music", crate = "a::b")] #[unique(slug)]"#)),
        []
    );
    assert_eq!(
        mistakes(&model("#[upsertable(new(name = N, derive(PartialEq, serde::Serialize)))] #[unique(slug)]")),
        []
    );
    assert_eq!(mistakes(&field("#[sqlx(rename = \"a\", default)] #[upsertable(create_only)] a: Option<i64>")), []);
    assert_eq!(mistakes(&field("#[sqlx(skip)] a: i64, #[sqlx(json)] b: B, #[sqlx(json(nullable))] c: Option<C>")), []);
    assert_eq!(mistakes("#[unique(a, nulls_not_distinct)] struct S { a: Option<i64> }"), []);
    assert_eq!(mistakes("#[unique(type)] struct S { r#type: i64 }"), []);
    assert_eq!(mistakes("#[unique(r#nulls_not_distinct)] struct S { nulls_not_distinct: i64 }"), []);
    assert_eq!(mistakes("#[unique(key)] struct S { key: i64 }"), []);
}

#[test]
fn keys() {
    one_mistake(&model(""), "Song", "`Song` has no key: say which fields");
    one_mistake(&model("#[unique]"), "#[unique]", "expected a list of fields");
    one_mistake(&model("#[unique()]"), "#[unique()]", "this key is empty");
    one_mistake(&model("#[unique(key = A)]"), "#[unique(key = A)]", "this key is empty");
    one_mistake(&model("#[unique = \"slug\"]"), "#[unique = \"slug\"]", "expected a list of fields");
    one_mistake(&model("#[unique(\"slug\")]"), "\"slug\"", "expected a field's name");
    one_mistake(&model("#[unique(slgu)]"), "slgu", "has no field `slgu`; did you mean `slug`? (its fields are `id`,");
    one_mistake(&model("#[unique(slug, artist)]"), "artist", "has no field `artist` (its fields are `id`, `slug` and");
    one_mistake(&model("#[unique(slug, nulls_distinct)]"), "nulls_distinct", "did you mean `nulls_not_distinct`?");
    one_mistake(&model("#[unique(slug, title, slug)]"), "slug", "named twice");
    one_mistake(&model("#[unique(slug, slgu)]"), "slgu", "did you mean `slug`?");
    one_mistake(&model("#[unique(slug,, title)]"), ",", "expected");
    one_mistake(&model("#[unique(slug title)]"), "slug title", "expected a field's name");
    one_mistake(&model("#[unique(slug, key = \"A\")]"), "\"A\"", "without quotes: `key = A`");
    one_mistake(&model("#[unique(slug, kye = A)]"), "kye", "did you mean `key`?");
    one_mistake(&model("#[unique(slug, key = A, key = B)]"), "key = B", "`key` is given twice");
    one_mistake(&model("#[unique(slug, nulls_not_distinct = true)]"), "nulls_not_distinct = true", "takes no value");
    one_mistake(&model("#[unique(slug)] #[unique(slug)]"), "#[unique(slug)]", "names the same fields");
    one_mistake(&model("#[unique(id)]"), "id", "`id` is `generated`, and rows are created by the first");
    one_mistake(
        &model("#[unique(slug)] #[unique(title, key = SongKey)]"),
        "SongKey",
        "already the name of another key",
    );
    one_mistake(&model("#[unique(slug, key = NewSong)]"), "NewSong", "already the name of the type of new rows");
    one_mistake(&model("#[unique(slug, key = Song)]"), "Song", "already the name of the model");
}

#[test]
fn words_on_the_struct() {
    let with = |attr: &str| model(&format!("{attr} #[unique(slug)]"));
    one_mistake(&with("#[upsertable]"), "#[upsertable]", "expected `#[upsertable(table = \"..\")]`");
    one_mistake(&with("#[upsertable(tabel = \"a\")]"), "tabel", "did you mean `table`? (expected `table`, `schema`,");
    one_mistake(&with("#[upsertable(tabel)]"), "tabel", "did you mean `table`?");
    one_mistake(
        &with("#[upsertable(color = 1)]"),
        "color",
        "unknown word `color` in `#[upsertable(..)]` on a struct (exp",
    );
    one_mistake(&with("#[upsertable(unique(slug))]"), "unique", "an attribute of its own");
    one_mistake(&with("#[upsertable(generated)]"), "generated", "`generated` goes on a field");
    one_mistake(&with("#[upsertable(rename_all = \"a\")]"), "rename_all", "`#[sqlx(rename_all = \"a\")]`");
    one_mistake(&with("#[upsertable(table)]"), "table", "expected a string: `table = \"..\"`");
    one_mistake(&with("#[upsertable(table = songs)]"), "songs", "expected a string: `table = \"songs\"`");
    one_mistake(&with("#[upsertable(table = )]"), "table =", "expected");
    one_mistake(&with("#[upsertable(schema = \"\")]"), "\"\"", "cannot be empty");
    one_mistake(&with("#[upsertable(schema = \"\\0\")]"), "\"\\0\"", "cannot contain");
    one_mistake(&with("#[upsertable(table = \"a\", table = \"b\")]"), "table = \"b\"", "given twice");
    one_mistake(&with("#[upsertable(table = \"a\")] #[upsertable(table = \"b\")]"), "table = \"b\"", "given twice");
    one_mistake(&with("#[upsertable(crate = a::b)]"), "a::b", "expected a path in a string");
    one_mistake(&with("#[upsertable(crate = \"a b\")]"), "\"a b\"", "expected a path in a string");
    one_mistake(&with("#[upsertable(new)]"), "new", "expected `new(name = .., derive(..))`");
    one_mistake(&with("#[upsertable(new(nam = A))]"), "nam", "unknown word `nam` in `new(..)`; did you mean `name`?");
    one_mistake(&with("#[upsertable(new(name = \"A\"))]"), "\"A\"", "without quotes");
    one_mistake(&with("#[upsertable(new(derive = A))]"), "A", "expected a list of derives");
    one_mistake(&with("#[upsertable(new(derive(A, 1)))]"), "1", "expected a derive's name");
    one_mistake(&with("#[upsertable(new(derive(A, A)))]"), "A", "given twice");
    one_mistake(&with("#[upsertable(new(name = Song))]"), "Song", "a name other than the model's");
    let no_new = "#[upsertable(new(name = N))] #[unique(a)] struct S { a: i64 }";
    one_mistake(no_new, "new(name = N)", "`S` itself is the new row");
}

#[test]
fn words_on_a_field() {
    one_mistake(&field("#[upsertable] a: i64"), "#[upsertable]", "expected `#[upsertable(generated)]`");
    one_mistake(&field("#[upsertable(generatd)] a: i64"), "generatd", "did you mean `generated`?");
    one_mistake(&field("#[upsertable(generated = true)] a: i64"), "generated = true", "takes no value");
    one_mistake(&field("#[upsertable(create_only, create_only)] a: i64"), "create_only", "given twice");
    one_mistake(&field("#[upsertable(table = \"a\")] a: i64"), "table", "goes on the struct");
    one_mistake(&field("#[upsertable(skip)] a: i64"), "skip", "`#[sqlx(skip)]`");
    one_mistake(&field("#[upsertable(default = \"0\")] a: i64"), "default", "`#[sqlx(default)]`");
    one_mistake(&field("#[upsertable(json(nullable))] a: Option<A>"), "json", "`#[sqlx(json (nullable))]`");
    one_mistake(&field("#[unique] a: i64"), "#[unique]", "goes on the struct");
    one_mistake(&field("#[upsertable(generated, create_only)] a: i64"), "create_only", "`generated`: no statement");
    one_mistake(&field("#[upsertable(generated)] #[sqlx(skip)] a: i64"), "generated", "not a column that could be");
    one_mistake(&field("#[sqlx(flatten)] a: A"), "flatten", "makes it several");
    one_mistake(&field("#[sqlx(try_from = \"i64\")] a: A"), "try_from = \"i64\"", "says how `a` is read");
    one_mistake(&field("#[sqlx(skp)] a: A"), "skp", "sqlx does not know `skp`; did you mean `skip`?");
    one_mistake(&field("#[sqlx(rename = \"slug\")] a: i64"), "\"slug\"", "`slug` and `a` are both the column `slug`");
    one_mistake(&field("#[sqlx(rename = \"\")] a: i64"), "\"\"", "cannot be empty");
    one_mistake("#[unique(a)] struct S { #[unique(a)] a: i64 }", "#[unique(a)]", "goes on the struct");
    one_mistake("#[unique(a)] struct S { #[sqlx(skip)] a: i64, b: i64 }", "a", "no key can contain it");
    one_mistake("#[unique(a)] struct S { #[upsertable(create_only)] a: i64 }", "create_only", "part of the first key");
}

#[test]
fn types() {
    let text = "can be NULL";
    one_mistake("#[unique(a)] struct S { a: Option<i64> }", "Option<i64>", text);
    one_mistake(
        "#[unique(a)] #[unique(b, a)] struct S { a: std::option::Option<A>, b: i64 }",
        "std::option::Option<A>",
        text,
    );
    one_mistake("#[unique(a)] struct S { #[sqlx(json(nullable))] a: Alias }", "Alias", text);
    assert_eq!(mistakes("#[unique(a)] struct S { #[sqlx(json)] a: Option<i64> }"), []);
    one_mistake("#[unique(a)] struct S<T> { a: T }", "T", "cannot be generic");
    one_mistake("#[unique(a)] struct S<'a> { a: &'a str }", "'a", "cannot borrow");
    one_mistake("#[unique(a)] struct S(i64);", "(i64)", "named fields");
    one_mistake("struct S;", "S", "named fields");
    one_mistake("enum S { A { a: i64 } }", "enum", "named fields");
    one_mistake("union S { a: i64 }", "union", "named fields");
    one_mistake("struct S {}", "S", "no fields that are columns");
    one_mistake("#[unique(a)] struct S { #[upsertable(generated)] a: i64 }", "S", "every field of `S` is `generated`");
}

#[test]
fn every_mistake_is_reported() {
    let found = mistakes(
        "#[upsertable(tabel = \"a\", schema = 1)] #[unique(b, c)]
        struct S { #[upsertable(generatd)] a: i64, b: Option<i64>, #[sqlx(flatten)] d: D }",
    );
    let on: Vec<&str> = found.iter().map(|(on, _)| on.as_str()).collect();
    assert_eq!(on, ["tabel", "1", "generatd", "c", "flatten", "Option<i64>"]);
}

#[test]
fn the_word_that_was_meant() {
    assert_eq!(nearest("tabel", ["schema", "table"]), Some("table"));
    assert_eq!(nearest("gen", ["generated"]), None);
    assert_eq!(nearest("a", ["b"]), None);
    assert_eq!(nearest("di", ["id"]), Some("id"));
    assert_eq!(list(&[""; 0], "or"), "");
    assert_eq!(list(&["a"], "or"), "`a`");
    assert_eq!(list(&["a", "b", "c"], "or"), "`a`, `b` or `c`");
    assert!(list(&["a"; 60], "and").ends_with("`a` and 48 more"));
}

/// The derive writes the code that was reviewed.
///
/// `UPDATE_EXPANSION=1 cargo test -p upsertable-macros` writes it anew.
#[test]
fn expansion() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expansion/retweet.rs");
    let model = r#"
        #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
        #[upsertable(table = "retweets")]
        #[unique(tweet, retweeter)]
        #[unique(id)]
        pub struct Retweet {
            #[upsertable(generated)]
            pub id: i64,
            /// The tweet that was passed on, by [`Self::id`].
            pub tweet: i64,
            pub retweeter: i64,
            #[upsertable(create_only)]
            pub original_author: Option<i64>,
            #[sqlx(json)]
            pub tags: Vec<String>,
            #[sqlx(json(nullable))]
            pub place: Option<Place>,
        }
    "#;
    let written = prettyplease::unparse(&syn::parse2(derive(syn::parse_str(model).unwrap())).unwrap());
    if std::env::var_os("UPDATE_EXPANSION").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    assert_eq!(written, std::fs::read_to_string(path).unwrap());
}

/// Lists of attribute words, values and brackets, in any order.
///
/// Known and unknown words are among them.
fn attribute_list() -> impl Strategy<Value = String> {
    let words = "upsertable unique sqlx table schema crate new name derive generated create_only key nulls_not_distinct \
        rename rename_all skip json nullable default flatten try_from tabel nam generatd a b c r#a r#type Self self type _ \
        = , , , :: . # ! < > & \"a\" \"\" \"a::b\" \"r#\" \"\\0\" \"camelCase\" b\"a\" c\"a\" 1 1.0 true 'x' 'a ß ŉ";
    let word = proptest::sample::select(words.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let list = word.prop_recursive(3, 24, 6, |inner| {
        let brackets = proptest::sample::select(vec![("(", ")"), ("[", "]"), ("{", "}")]);
        (proptest::collection::vec(inner, 0..6), brackets)
            .prop_map(|(words, (open, close))| format!("{open} {} {close}", words.join(" ")))
    });
    proptest::collection::vec(list, 0..8).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn random_attributes(
        on_struct in attribute_list(),
        unique in attribute_list(),
        on_field in attribute_list(),
        sqlx in attribute_list(),
        on_other in proptest::sample::select(vec!["", "= \"a\"", "()", "{ a }", "[a = b]"]),
    ) {
        proc_macro2::extra::invalidate_current_thread_spans();
        let input = format!(
            "#[upsertable({on_struct})] #[unique({unique})] #[unique(b)] #[sqlx({sqlx})]
            struct S {{ #[upsertable({on_field})] #[sqlx({sqlx})] a: i64, b: Option<A>, #[upsertable {on_other}] c: [u8; 2 + 2] }}",
        );
        let tokens = TokenStream::from_str(&input);
        prop_assume!(tokens.is_ok());
        let parsed = syn::parse2(tokens.unwrap());
        prop_assume!(parsed.is_ok());
        for (on, message) in mistakes(&input) {
            prop_assert!(!on.is_empty() && input.contains(&on), "`{message}` is not in the input: `{on}`");
        }
        prop_assert!(syn::parse2::<syn::File>(derive(parsed.unwrap())).is_ok());
    }

    #[test]
    fn names_change_case_as_they_do_in_sqlx(name in "[a-zA-Z0-9_]{0,12}|\\PC{0,8}|[aAbBßΣσ1_]{0,10}") {
        let change = |rule| RenameAll::named(rule).unwrap().apply(&name);
        prop_assert_eq!(change("lowercase"), name.to_lowercase());
        prop_assert_eq!(change("snake_case"), name.to_snake_case());
        prop_assert_eq!(change("UPPERCASE"), name.to_uppercase());
        prop_assert_eq!(change("SCREAMING_SNAKE_CASE"), name.to_shouty_snake_case());
        prop_assert_eq!(change("kebab-case"), name.to_kebab_case());
        prop_assert_eq!(change("camelCase"), name.to_lower_camel_case());
        prop_assert_eq!(change("PascalCase"), name.to_upper_camel_case());
    }
}
