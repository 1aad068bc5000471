//! Letter case exactly as `sqlx::FromRow` changes it.
//!
//! A column must be written under the name that it is read by.

/// The values of `#[sqlx(rename_all = "..")]`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RenameAll {
    Lower,
    Snake,
    Upper,
    ScreamingSnake,
    Kebab,
    Camel,
    Pascal,
}

impl RenameAll {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lowercase" => Self::Lower,
            "snake_case" => Self::Snake,
            "UPPERCASE" => Self::Upper,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "camelCase" => Self::Camel,
            "PascalCase" => Self::Pascal,
            _ => return None,
        })
    }

    pub(crate) fn apply(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_lowercase(),
            Self::Snake => snake(name),
            Self::Upper => name.to_uppercase(),
            Self::ScreamingSnake => join(name, "_", |_, word| upper(word)),
            Self::Kebab => join(name, "-", |_, word| lower(word)),
            Self::Camel => join(name, "", |index, word| if index == 0 { lower(word) } else { capital(word) }),
            Self::Pascal => pascal(name),
        }
    }
}

pub(crate) fn snake(name: &str) -> String {
    join(name, "_", |_, word| lower(word))
}

pub(crate) fn pascal(name: &str) -> String {
    join(name, "", |_, word| capital(word))
}

fn join(name: &str, between: &str, change: impl Fn(usize, &str) -> String) -> String {
    let words: Vec<String> = words(name).into_iter().enumerate().map(|(index, word)| change(index, word)).collect();
    words.join(between)
}

fn upper(word: &str) -> String {
    word.chars().flat_map(char::to_uppercase).collect()
}

fn lower(word: &str) -> String {
    let last = word.chars().count().saturating_sub(1);
    let mut lower = String::new();
    for (index, letter) in word.chars().enumerate() {
        // The one letter whose lower case depends on its place.
        if letter == 'Σ' && index == last {
            lower.push('ς');
        } else {
            lower.extend(letter.to_lowercase());
        }
    }
    lower
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + &lower(letters.as_str())
}

/// The words of a name.
///
/// sqlx splits with the crate heck, whose rules these are: `XMLHttpRequest` is `XML`, `Http` and `Request`.
fn words(name: &str) -> Vec<&str> {
    name.split(|letter: char| !letter.is_alphanumeric()).flat_map(humps).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    Start,
    Lower,
    Upper,
}

fn humps(run: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut last = Last::Start;
    let mut letters = run.char_indices().peekable();
    while let Some((here, letter)) = letters.next() {
        let Some(&(after, next)) = letters.peek() else {
            found.push(&run[start..]);
            break;
        };
        let now = match letter {
            _ if letter.is_lowercase() => Last::Lower,
            _ if letter.is_uppercase() => Last::Upper,
            _ => last,
        };
        let (end, split) = if now == Last::Lower && next.is_uppercase() {
            (after, true)
        } else {
            (here, last == Last::Upper && letter.is_uppercase() && next.is_lowercase())
        };
        if split {
            found.push(&run[start..end]);
            (start, last) = (end, Last::Start);
        } else {
            last = now;
        }
    }
    found
}
