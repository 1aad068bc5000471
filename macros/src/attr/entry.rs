//! The entries of an attribute's list, and their values.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, LitStr, Meta, Path, parse::Parser as _};

use crate::errors::Errors;

/// One entry of an attribute's list.
pub(crate) struct Entry {
    pub(crate) word: Ident,
    pub(crate) value: Value,
    pub(crate) tokens: TokenStream,
}

pub(crate) enum Value {
    /// `word`
    Nothing,
    /// `word = value`
    Is(TokenStream),
    /// `word(list)`
    List(TokenStream),
}

impl Entry {
    fn parse(tokens: &[TokenTree]) -> Option<Self> {
        let (TokenTree::Ident(word), value) = tokens.split_first()? else { return None };
        let value = match value {
            [] => Value::Nothing,
            [TokenTree::Punct(equals), value @ ..] if equals.as_char() == '=' && !value.is_empty() => {
                Value::Is(value.iter().cloned().collect())
            }
            [TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => Value::List(group.stream()),
            _ => return None,
        };
        Some(Self { word: word.clone(), value, tokens: tokens.iter().cloned().collect() })
    }

    /// Reads a word that takes no value.
    pub(crate) fn flag(&self, errors: &mut Errors) -> Ident {
        if !matches!(self.value, Value::Nothing) {
            errors.at(&self.tokens, format!("`{}` takes no value", self.word));
        }
        self.word.clone()
    }

    pub(crate) fn string(&self) -> Option<LitStr> {
        let Value::Is(value) = &self.value else { return None };
        syn::parse2(value.clone()).ok()
    }

    /// Reads a string that names something in the database.
    pub(crate) fn identifier(&self, errors: &mut Errors) -> Option<LitStr> {
        let Some(string) = self.string() else {
            let value = self.said().unwrap_or_else(|| "..".to_owned());
            errors.at(self.wrong(), format!("expected a string: `{} = \"{value}\"`", self.word));
            return None;
        };
        check_identifier(&string, errors).then_some(string)
    }

    pub(crate) fn path(&self, errors: &mut Errors) -> Option<Path> {
        let path = self.string().filter(is_path).and_then(|path| path.parse_with(Path::parse_mod_style).ok());
        if path.is_none() {
            errors.at(self.wrong(), "expected a path in a string, as in `crate = \"some_crate::upsertable\"`");
        }
        path
    }

    /// Reads the name of a type that the derive writes.
    ///
    /// `example` stands in the message.
    pub(crate) fn type_name(&self, example: &str, errors: &mut Errors) -> Option<Ident> {
        let name = match &self.value {
            Value::Is(value) => syn::parse2(value.clone()).ok(),
            _ => None,
        };
        if name.is_none() {
            let said = self.said().filter(|said| syn::parse_str::<Ident>(said).is_ok());
            let name = said.as_deref().unwrap_or(example);
            errors.at(self.wrong(), format!("expected the name of a type, without quotes: `{} = {name}`", self.word));
        }
        name
    }

    pub(crate) fn paths(&self, errors: &mut Errors) -> Option<Vec<Path>> {
        let Value::List(inner) = &self.value else {
            errors.at(self.wrong(), "expected a list of derives: `derive(Default, serde::Deserialize)`");
            return None;
        };
        let mut paths: Vec<Path> = Vec::new();
        for part in parts(inner.clone()) {
            let tokens: TokenStream = part.tokens.into_iter().collect();
            match Path::parse_mod_style.parse2(tokens.clone()) {
                Ok(path) if paths.iter().any(|other| same(other, &path)) => {
                    errors.at(path, "this derive is given twice");
                }
                Ok(path) => paths.push(path),
                Err(_) => errors.at(or(tokens, part.comma), "expected a derive's name, as in `serde::Deserialize`"),
            }
        }
        Some(paths)
    }

    /// The value without its quotes, if it is a single word.
    fn said(&self) -> Option<String> {
        let Value::Is(value) = &self.value else { return None };
        let mut tokens = value.clone().into_iter();
        let (token, None) = (tokens.next()?, tokens.next()) else { return None };
        let text = token.to_string();
        let text = text.trim_matches('"');
        let is_word = text.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        (is_word && !text.is_empty()).then(|| text.to_owned())
    }

    /// The tokens that a wrong value is reported on.
    ///
    /// They are the value, or the entry where there is none.
    fn wrong(&self) -> &TokenStream {
        match &self.value {
            Value::Is(value) => value,
            _ => &self.tokens,
        }
    }
}

/// Reports a string that cannot name a table, schema or column.
///
/// Returns true if it can.
pub(crate) fn check_identifier(string: &LitStr, errors: &mut Errors) -> bool {
    let problem = match string.value() {
        value if value.is_empty() => "a name cannot be empty",
        value if value.contains('\0') => "a name cannot contain the character `\\0`",
        _ => return true,
    };
    errors.at(string, problem);
    false
}

/// Compares two paths by their text.
///
/// syn's own `==` is a feature that nothing else here needs.
fn same(one: &Path, other: &Path) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}

/// Tests if the string can be parsed as a path.
///
/// To parse a string with strange characters would report them twice: the compiler's lexer does so on its own.
fn is_path(path: &LitStr) -> bool {
    let value = path.value();
    value.strip_prefix("::").unwrap_or(&value).split("::").all(|part| {
        let part = part.strip_prefix("r#").unwrap_or(part);
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

/// Stores a value that can be given once.
pub(crate) fn once<T>(slot: &mut Option<T>, value: Option<T>, entry: &Entry, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(&entry.tokens, format!("`{}` is given twice", entry.word));
    } else {
        *slot = value;
    }
}

/// Reads the entries of an attribute.
///
/// `form` and `entry` say in messages what the attribute and its entries look like.
pub(crate) fn entries(attr: &Attribute, form: &str, entry: &str, errors: &mut Errors) -> Vec<Entry> {
    if let Meta::List(meta) = &attr.meta {
        return split(meta.tokens.clone(), entry, errors);
    }
    errors.at(attr, format!("expected {form}"));
    Vec::new()
}

/// Reads the entries of a list.
pub(crate) fn split(tokens: TokenStream, expected: &str, errors: &mut Errors) -> Vec<Entry> {
    let mut entries = Vec::new();
    for part in parts(tokens) {
        match Entry::parse(&part.tokens) {
            Some(entry) => entries.push(entry),
            None => errors.at(or(part.tokens.into_iter().collect(), part.comma), format!("expected {expected}")),
        }
    }
    entries
}

/// The tokens between two commas, and the second comma.
#[derive(Default)]
struct Part {
    tokens: Vec<TokenTree>,
    comma: Option<TokenTree>,
}

/// Splits a list at its commas.
///
/// It is not parsed by a grammar, so that one wrong entry does not hide the mistakes in those after it.
fn parts(tokens: TokenStream) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = Part::default();
    for token in ungrouped(tokens) {
        if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',') {
            part.comma = Some(token);
            parts.push(std::mem::take(&mut part));
        } else {
            part.tokens.push(token);
        }
    }
    if !part.tokens.is_empty() {
        parts.push(part);
    }
    parts
}

/// Removes invisible groups.
///
/// A `macro_rules!` macro puts them around what it was given.
fn ungrouped(tokens: TokenStream) -> Vec<TokenTree> {
    let mut flat = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => flat.extend(ungrouped(group.stream())),
            token => flat.push(token),
        }
    }
    flat
}

/// The tokens, or the comma where there are none.
fn or(tokens: TokenStream, comma: Option<TokenTree>) -> TokenStream {
    if tokens.is_empty() { comma.into_iter().collect() } else { tokens }
}
