//! Reads the caller's own SQL: its placeholders, statements and words.

use crate::sql::dialect::Dialect;

/// A database's syntax of quoted names, texts and comments.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is one way in which databases differ, whatever the others are")]
pub struct QuotingRules {
    /// Opening and closing quotes of names, beside `"`.
    pub(crate) names: &'static [(char, char)],
    /// True where a backslash in a text escapes the next character.
    pub(crate) backslashes: bool,
    /// True where a backslash escapes in texts that begin with `E'`.
    pub(crate) escape_prefix: bool,
    /// True where texts can be quoted as `$tag$text$tag$`.
    pub(crate) dollars: bool,
    /// True where `# comment` is a comment.
    pub(crate) hash_comments: bool,
    /// True where comments nest: `/* one /* inside */ another */`.
    pub(crate) nested_comments: bool,
    /// True where quoted names that differ by case alone are two.
    pub(crate) exact_names: bool,
}

impl QuotingRules {
    /// The rules of the SQL standard.
    pub(crate) const STANDARD: Self = Self {
        names: &[],
        backslashes: false,
        escape_prefix: false,
        dollars: false,
        hash_comments: false,
        nested_comments: false,
        exact_names: false,
    };

    /// Writes a condition with the database's placeholders, and counts them.
    ///
    /// Their numbers go on from `first`. Where placeholders are numbered, `??` stands for an operator `?` that is none.
    pub(crate) fn placeholders(self, condition: &str, dialect: Dialect, first: usize) -> (String, usize) {
        let mut out = String::with_capacity(condition.len());
        let mut count = 0;
        let mut rest = condition;
        while let Some(next) = rest.chars().next() {
            let quoted = self.quoted(rest, &out);
            if quoted > 0 {
                let (text, behind) = rest.split_at(quoted);
                out.push_str(text);
                rest = behind;
            } else if next == '?' && dialect.numbered && rest[1..].starts_with('?') {
                out.push('?');
                rest = &rest[2..];
            } else {
                if next == '?' {
                    dialect.push_placeholder(&mut out, first + count);
                    count += 1;
                } else {
                    out.push(next);
                }
                rest = &rest[next.len_utf8()..];
            }
        }
        (out, count)
    }

    /// The statements of a text.
    ///
    /// Those of nothing but blanks and comments are left out.
    pub(crate) fn statements(self, text: &str) -> Vec<&str> {
        let mut statements = Vec::new();
        let (mut begin, mut position) = (0, 0);
        let last = text.rfind(';');
        while Some(position) <= last {
            let (before, rest) = text.split_at(position);
            let quoted = self.quoted(rest, before);
            if quoted == 0 && rest.starts_with(';') {
                statements.push(&text[begin..position]);
                begin = position + 1;
            }
            position += quoted.max(rest.chars().next().map_or(1, char::len_utf8));
        }
        statements.push(&text[begin..]);
        statements.retain(|statement| self.words(statement).next().is_some());
        statements
    }

    /// The words and quoted texts of a statement, without comments.
    ///
    /// What stands between them is left out too.
    pub(crate) fn words(self, statement: &str) -> impl Iterator<Item = &str> {
        let mut position = 0;
        std::iter::from_fn(move || {
            while position < statement.len() {
                let (before, rest) = statement.split_at(position);
                let quoted = self.quoted(rest, before);
                let word = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
                let skipped = rest.chars().next().map_or(1, char::len_utf8);
                position += quoted.max(word).max(skipped);
                if quoted > 0 && !self.is_comment(rest) {
                    return Some(&rest[..quoted]);
                }
                if quoted == 0 && word > 0 {
                    return Some(&rest[..word]);
                }
            }
            None
        })
    }

    fn is_comment(self, rest: &str) -> bool {
        rest.starts_with("/*") || self.is_line_comment(rest)
    }

    /// Tests if a line comment begins here.
    ///
    /// On MySQL, which has the other kind too, `--` begins a comment before a blank only.
    fn is_line_comment(self, rest: &str) -> bool {
        let dashes = rest.strip_prefix("--");
        dashes.is_some_and(|behind| !self.hash_comments || !behind.starts_with(|next: char| !next.is_whitespace()))
            || self.hash_comments && rest.starts_with('#')
    }

    /// Length of the quoted text or comment that begins here.
    ///
    /// It is 0 where `rest` begins with none. `before` is what stands before it.
    fn quoted(self, rest: &str, before: &str) -> usize {
        if self.is_line_comment(rest) {
            return rest.find('\n').unwrap_or(rest.len());
        }
        if rest.starts_with("/*") {
            return self.comment(rest);
        }
        if self.dollars && rest.starts_with('$') {
            return dollar_quoted(rest, before);
        }
        let Some(first) = rest.chars().next() else { return 0 };
        if first == '\'' {
            return closed(rest, '\'', self.backslashes || self.escape_prefix && is_escape(before));
        }
        if first == '"' {
            return closed(rest, '"', self.backslashes);
        }
        let name = self.names.iter().find(|(begin, _)| *begin == first);
        name.map_or(0, |(_, end)| closed(rest, *end, false))
    }

    fn comment(self, rest: &str) -> usize {
        let mut depth = 0;
        let mut position = 0;
        while position < rest.len() {
            let here = &rest.as_bytes()[position..];
            if here.starts_with(b"/*") && (depth == 0 || self.nested_comments) {
                depth += 1;
                position += 2;
            } else if here.starts_with(b"*/") {
                depth -= 1;
                position += 2;
                if depth == 0 {
                    return position;
                }
            } else {
                position += 1;
            }
        }
        rest.len()
    }
}

/// Length of the text that ends with `end`.
///
/// Two of them one after the other are two texts here, which comes to the same.
fn closed(rest: &str, end: char, backslashes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((position, character)) = characters.next() {
        if character == '\\' && backslashes {
            characters.next();
        } else if character == end {
            return position + character.len_utf8();
        }
    }
    rest.len()
}

/// Tests if the text that comes begins with `E'`.
///
/// The `E` must be no part of a longer word.
fn is_escape(before: &str) -> bool {
    let mut back = before.chars().rev();
    matches!(back.next(), Some('e' | 'E')) && !back.next().is_some_and(is_word)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$')
}

/// Length of a text such as `$$text$$` or `$tag$text$tag$`.
///
/// A `$` inside a word, or before a digit, begins none.
fn dollar_quoted(rest: &str, before: &str) -> usize {
    let Some(end) = rest[1..].find('$') else { return 0 };
    let tag = &rest[..end + 2];
    let name = &tag[1..=end];
    let is_tag = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if !is_tag || before.chars().next_back().is_some_and(is_word) {
        return 0;
    }
    rest[tag.len()..].find(tag).map_or(rest.len(), |close| tag.len() + close + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERED: Dialect = Dialect { quote: '"', numbered: true };
    const PLAIN: Dialect = Dialect { quote: '`', numbered: false };
    const POSTGRES: QuotingRules =
        QuotingRules { dollars: true, escape_prefix: true, nested_comments: true, ..QuotingRules::STANDARD };
    const MYSQL: QuotingRules =
        QuotingRules { names: &[('`', '`')], backslashes: true, hash_comments: true, ..QuotingRules::STANDARD };
    const SQLITE: QuotingRules = QuotingRules { names: &[('`', '`'), ('[', ']')], ..QuotingRules::STANDARD };

    #[track_caller]
    fn postgres(condition: &str, expected: &str, count: usize) {
        assert_eq!(POSTGRES.placeholders(condition, NUMBERED, 1), (expected.to_owned(), count));
    }

    #[test]
    fn placeholders_are_numbered() {
        postgres("a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)", 3);
        assert_eq!(POSTGRES.placeholders("é = ?", NUMBERED, 7), ("é = $7".to_owned(), 1));
        assert_eq!(SQLITE.placeholders("a = ?", PLAIN, 1), ("a = ?".to_owned(), 1));
    }

    #[test]
    fn what_is_quoted_has_none() {
        postgres(r#"a = '?' AND "b?" = ?"#, r#"a = '?' AND "b?" = $1"#, 1);
        postgres("a = 'it''s ?' AND b = ?", "a = 'it''s ?' AND b = $1", 1);
        postgres(r"a = E'\'?' AND b = ?", r"a = E'\'?' AND b = $1", 1);
        postgres(r"a = '\' AND b = ?", r"a = '\' AND b = $1", 1);
        postgres(r"type'\' = ?", r"type'\' = $1", 1);
        postgres("a = $$?$$ AND b = $x$ ? $ $x$ AND c = ?", "a = $$?$$ AND b = $x$ ? $ $x$ AND c = $1", 1);
        postgres("a$b = ? AND c$b = ?", "a$b = $1 AND c$b = $2", 2);
        postgres("a = ? -- really?\nAND b = ?", "a = $1 -- really?\nAND b = $2", 2);
        postgres("a = ? /* ? /* ? */ ? */ AND b = ?", "a = $1 /* ? /* ? */ ? */ AND b = $2", 2);
        postgres("a = 'open ?", "a = 'open ?", 0);
        let mysql = |condition| MYSQL.placeholders(condition, PLAIN, 1).1;
        assert_eq!(mysql(r"a = '\'?' AND `b?` = ? # ?"), 1);
        assert_eq!(mysql(r#"a = "\"?" AND b = ? /* /* ? */ AND c = ?"#), 2);
        let sqlite = |condition| SQLITE.placeholders(condition, PLAIN, 1).1;
        assert_eq!(sqlite(r"a = '\' AND [b?] = ? AND `c?` = ?"), 2);
    }

    #[test]
    fn a_text_falls_into_statements() {
        assert_eq!(POSTGRES.statements("SELECT 1"), ["SELECT 1"]);
        assert_eq!(POSTGRES.statements("SELECT ';'; -- ;\nCOMMIT;"), ["SELECT ';'", " -- ;\nCOMMIT"]);
        assert_eq!(POSTGRES.statements("DO $$ BEGIN; END $$; /* ; */ ;"), ["DO $$ BEGIN; END $$"]);
        assert_eq!(MYSQL.statements("SELECT 2--1; COMMIT # ;"), ["SELECT 2--1", " COMMIT # ;"]);
        assert_eq!(MYSQL.statements("SELECT 'é\\';'; x"), ["SELECT 'é\\';'", " x"]);
        assert_eq!(SQLITE.statements(" ;; "), [""; 0]);
    }

    #[test]
    fn a_statement_falls_into_words() {
        let words = |quotes: QuotingRules, text: &str| quotes.words(text).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(POSTGRES, "/* a */ ROLLBACK--b\nTO \"x y\""), ["ROLLBACK", "TO", "\"x y\""]);
        assert_eq!(words(MYSQL, "(SELECT `é`.ü)"), ["SELECT", "`é`", "ü"]);
    }

    #[test]
    fn a_doubled_one_is_an_operator() {
        postgres("tags ?? ? AND a = ?", "tags ? $1 AND a = $2", 2);
    }
}
