//! Fit of a column's type to a field's: writes and reads.

use crate::backend::catalogue::{CatalogColumn, Fit};

/// Kinds of types between which the driver reads nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    /// So many bytes.
    Signed(u8),
    Unsigned(u8),
    Float,
    Double,
    Decimal,
    Text,
    Enum,
    Bytes,
    Json,
    Date,
    Time,
    Datetime,
    Timestamp,
    Bits,
    Year,
    Other,
}

impl Kind {
    /// Returns the kind of a declared column type.
    fn of_column(declared: &str) -> Self {
        let whole = |bytes| if declared.contains("unsigned") { Self::Unsigned(bytes) } else { Self::Signed(bytes) };
        match first_word(declared) {
            "tinyint" => whole(1),
            "smallint" => whole(2),
            "mediumint" => whole(3),
            "int" => whole(4),
            "bigint" => whole(8),
            "float" => Self::Float,
            "double" => Self::Double,
            "decimal" => Self::Decimal,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "set" => Self::Text,
            "enum" => Self::Enum,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "json" => Self::Json,
            "date" => Self::Date,
            "time" => Self::Time,
            "datetime" => Self::Datetime,
            "timestamp" => Self::Timestamp,
            "bit" => Self::Bits,
            "year" => Self::Year,
            _ => Self::Other,
        }
    }

    /// Returns the kind of a field, by the driver's name.
    fn of_field(name: &str) -> Self {
        match name {
            "BOOLEAN" => Self::Bool,
            // The driver sends JSON as text of no character set.
            "BINARY" => Self::Json,
            _ => Self::of_column(&name.to_ascii_lowercase()),
        }
    }

    /// Tests if the driver reads the field from such a column.
    fn reads(self, column: Self) -> bool {
        match (self, column) {
            (Self::Other, _) | (_, Self::Other) => true,
            (Self::Bool, column) => matches!(column, Self::Signed(_) | Self::Unsigned(_) | Self::Bits),
            (Self::Signed(_), column) => matches!(column, Self::Signed(_)),
            (Self::Unsigned(_), column) => matches!(column, Self::Unsigned(_) | Self::Bits | Self::Year),
            (Self::Float | Self::Double, column) => matches!(column, Self::Float | Self::Double),
            (Self::Text, column) => matches!(column, Self::Text | Self::Enum),
            (Self::Bytes, column) => matches!(column, Self::Bytes | Self::Text | Self::Enum),
            (Self::Json, column) => matches!(column, Self::Json | Self::Text | Self::Bytes),
            (Self::Timestamp, column) => matches!(column, Self::Timestamp | Self::Datetime),
            (one, other) => one == other,
        }
    }
}

fn first_word(declared: &str) -> &str {
    declared.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// The numbers in parentheses, as 10 and 2 of `decimal(10,2)`.
fn limits(declared: &str) -> Vec<u32> {
    let inside = declared.split(['(', ')']).nth(1).unwrap_or_default();
    inside.split(',').map_while(|number| number.trim().parse().ok()).collect()
}

pub(super) fn fit(field: &str, column: &CatalogColumn) -> Fit {
    let declared = column.kind.as_str();
    let (sent, there) = (Kind::of_field(field), Kind::of_column(declared));
    if !sent.reads(there) {
        return Fit::Refuses(format!("it is declared {declared}, from which sqlx reads no field of {field}"));
    }
    if sent == Kind::Enum && !column.nullable {
        let why = "sqlx reads an enum of Rust's only from a column that can be NULL and is in no index";
        return Fit::Refuses(format!("it is declared {declared} NOT NULL, and {why}"));
    }
    match loss(sent, there, declared) {
        Some(loss) => Fit::Loses(format!("it is declared {declared}, which {loss}")),
        None => Fit::Holds,
    }
}

/// Digits of Rust's decimal numbers, before and after the point.
const DIGITS: u32 = 28;

/// Returns how a column loses a part of a field's values.
///
/// It refuses that, or changes it where `sql_mode` is not strict.
fn loss(sent: Kind, there: Kind, declared: &str) -> Option<String> {
    let limits = limits(declared);
    let first = limits.first().copied();
    match (sent, there) {
        (Kind::Signed(field), Kind::Signed(column)) | (Kind::Unsigned(field), Kind::Unsigned(column)) => {
            (column < field).then(|| "holds no larger numbers, and the field does".to_owned())
        }
        (Kind::Unsigned(bytes), Kind::Bits) => (first.unwrap_or(1) < u32::from(bytes) * 8)
            .then(|| "holds no larger numbers, and the field does".to_owned()),
        (Kind::Unsigned(_), Kind::Year) => Some("holds years only".to_owned()),
        (Kind::Double, Kind::Float) => Some("rounds to 24 bits".to_owned()),
        (Kind::Float | Kind::Double, _) => first.map(|_| "rounds to so many digits".to_owned()),
        (Kind::Decimal, _) => {
            let (all, after) = (first.unwrap_or(10), limits.get(1).copied().unwrap_or(0));
            (after < DIGITS || all.saturating_sub(after) < DIGITS)
                .then(|| "rounds longer numbers, and holds no larger ones".to_owned())
        }
        (Kind::Time | Kind::Datetime | Kind::Timestamp, _) => {
            first.is_none_or(|digits| digits < 6).then(|| "rounds finer times".to_owned())
        }
        (Kind::Text | Kind::Json, Kind::Text) => text_loss(declared, first),
        (Kind::Bytes, Kind::Text | Kind::Enum) => Some("refuses bytes that are no text".to_owned()),
        // As long as a UUID is.
        (Kind::Bytes, Kind::Bytes) if first == Some(16) => None,
        (Kind::Bytes, Kind::Bytes) if first_word(declared) == "binary" => {
            Some("fills short values up with zeros, and holds no longer ones".to_owned())
        }
        (Kind::Bytes | Kind::Json, Kind::Bytes) => {
            short(declared, first).map(|length| format!("holds no more than {length} bytes"))
        }
        _ => None,
    }
}

fn text_loss(declared: &str, length: Option<u32>) -> Option<String> {
    if let Some((_, charset)) = declared.rsplit_once(" CHARACTER SET ") {
        return Some(format!("holds no characters that {charset} does not have"));
    }
    match first_word(declared) {
        "set" => Some("holds its own words only".to_owned()),
        _ => short(declared, length).map(|length| format!("holds no more than {length} characters")),
    }
}

/// Returns the declared length, or that of a short type.
///
/// `None` if the type is long enough not to matter.
fn short(declared: &str, length: Option<u32>) -> Option<u32> {
    if first_word(declared).starts_with("tiny") { Some(255) } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(declared: &str, nullable: bool) -> CatalogColumn {
        let (name, kind) = (String::new(), declared.to_owned());
        CatalogColumn { name, kind, nullable, filled: false, computed: false, strict: true, is_row_id: false }
    }

    #[test]
    fn a_field_fits_a_column_that_holds_what_it_sends_and_gives_what_it_reads() {
        let fits = [
            ("BIGINT", "bigint(20)"),
            ("INT", "bigint"),
            ("INT UNSIGNED", "int(10) unsigned"),
            ("BOOLEAN", "tinyint(1)"),
            ("BOOLEAN", "bit(1)"),
            ("TINYINT UNSIGNED", "bit(8)"),
            ("BIGINT UNSIGNED", "bit(64)"),
            ("FLOAT", "double"),
            ("DECIMAL", "decimal(65,30)"),
            ("VARCHAR", "longtext"),
            ("VARCHAR", "enum('a','b')"),
            ("ENUM", "enum('a','b')"),
            ("BLOB", "longblob"),
            ("BLOB", "binary(16)"),
            ("BINARY", "json"),
            ("BINARY", "longtext"),
            ("TIMESTAMP", "datetime(6)"),
            ("DATETIME", "datetime(6)"),
            ("DATE", "date"),
            ("TIME", "time(6)"),
            ("VARCHAR", "inet6"),
        ];
        for (field, declared) in fits {
            assert_eq!(fit(field, &column(declared, true)), Fit::Holds, "{field} {declared}");
        }
    }

    #[test]
    fn a_column_that_the_driver_does_not_read_as_the_field_is_refused() {
        let refused = [
            ("BIGINT", "bigint(20) unsigned"),
            ("BIGINT", "bit(8)"),
            ("INT UNSIGNED", "int"),
            ("VARCHAR", "int(11)"),
            ("VARCHAR", "binary(16)"),
            ("VARCHAR", "json"),
            ("DOUBLE", "bigint"),
            ("DOUBLE", "decimal(10,2)"),
            ("DECIMAL", "double"),
            ("BIGINT", "text"),
            ("BLOB", "bigint(20)"),
            ("DATE", "datetime"),
            ("DATETIME", "date"),
            ("DATETIME", "timestamp(6)"),
            ("TIME", "datetime(6)"),
            ("TIMESTAMP", "int(11)"),
            ("ENUM", "varchar(9)"),
        ];
        for (field, declared) in refused {
            assert!(matches!(fit(field, &column(declared, true)), Fit::Refuses(_)), "{field} {declared}");
        }
        assert!(matches!(fit("ENUM", &column("enum('a')", false)), Fit::Refuses(_)));
    }

    #[test]
    fn a_column_that_loses_a_part_of_what_the_field_sends_is_told() {
        let loses = [
            ("BIGINT", "int(11)"),
            ("INT", "mediumint(9)"),
            ("BIGINT UNSIGNED", "tinyint(3) unsigned"),
            ("BIGINT UNSIGNED", "bit(8)"),
            ("SMALLINT UNSIGNED", "year(4)"),
            ("DOUBLE", "float"),
            ("DOUBLE", "double(10,2)"),
            ("DECIMAL", "decimal(10,2)"),
            ("VARCHAR", "varchar(100)"),
            ("VARCHAR", "tinytext"),
            ("VARCHAR", "longtext CHARACTER SET latin1"),
            ("VARCHAR", "set('a','b')"),
            ("BLOB", "varbinary(100)"),
            ("BLOB", "binary(20)"),
            ("BLOB", "longtext"),
            ("BINARY", "varchar(100)"),
            ("TIMESTAMP", "timestamp"),
            ("DATETIME", "datetime(3)"),
            ("TIME", "time"),
        ];
        for (field, declared) in loses {
            assert!(matches!(fit(field, &column(declared, true)), Fit::Loses(_)), "{field} {declared}");
        }
    }
}
