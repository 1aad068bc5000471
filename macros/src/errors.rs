//! Collects every mistake, and says what was probably meant.
//!
//! One compile reports them all.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    found: Vec<syn::Error>,
}

impl Errors {
    /// Reports a mistake on the tokens that are wrong.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.found.push(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The mistakes as calls of `compile_error!`.
    pub(crate) fn to_tokens(&self) -> TokenStream {
        self.found.iter().map(syn::Error::to_compile_error).collect()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &syn::Error> {
        self.found.iter()
    }
}

/// The word that was probably meant.
///
/// There is none unless one is near enough to be a slip of the keyboard.
pub(crate) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters: `gen` is not a slip of `generated`, `tabel` is one of `table`.
    let limit = match word.chars().count() {
        0 | 1 => 0,
        letters => (letters / 3).max(1),
    };
    words
        .into_iter()
        .map(|other| (distance(word, other), other))
        .filter(|near| near.0 <= limit)
        .min()
        .map(|near| near.1)
}

/// `; did you mean ..?`, or nothing.
pub(crate) fn did_you_mean(word: Option<&str>) -> String {
    word.map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

/// The words as a sentence lists them: `a`, `b` or `c`.
pub(crate) fn list(words: &[impl Display], last: &str) -> String {
    // A table of sixty columns would bury the message.
    const SHOWN: usize = 12;
    let quoted: Vec<String> = words.iter().take(SHOWN).map(|word| format!("`{word}`")).collect();
    match (quoted.as_slice(), words.len()) {
        (start, all) if all > SHOWN => format!("{} {last} {} more", start.join(", "), all - SHOWN),
        ([start @ .., end], 2..) => format!("{} {last} {end}", start.join(", ")),
        (all, _) => all.concat(),
    }
}

/// The edit distance of two words.
///
/// It counts letters to be added, left out, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut cost = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}
