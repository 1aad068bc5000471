//! Questions to SQLite's schema about a table.

use std::collections::HashSet;

use sqlx::{
    Arguments as _, Row as _, Sqlite, TypeInfo as _,
    sqlite::{SqliteArguments, SqliteTypeInfo},
};

use crate::{
    backend::catalogue::{CatalogColumn, CatalogIndex, CatalogTable, Catalogue, Fit, Mend},
    backend::sqlite::dialect::{DIALECT, SHOWN},
    backend::sqlite::{one_row, row_statements},
    connection::link::Link,
    outcome::SqlFuture,
    sql::dialect::index_name,
    sql::statement::Statement,
    sql::table::{Column, Key, Table},
    sql::text::Sql,
};

impl Catalogue for Sqlite {
    fn inspect<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<CatalogTable>> {
        Box::pin(inspect(link, table))
    }

    fn refuse_table<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<String>> {
        Box::pin(refuse_table(link, table))
    }

    fn fit(kind: &SqliteTypeInfo, column: &CatalogColumn) -> Fit {
        fit(kind.name(), column)
    }

    fn add_column(table: &Table, column: &Column, kind: &SqliteTypeInfo) -> Option<String> {
        add_column(table, column, kind.name())
    }

    fn create_unique_index(table: &Table, key: &Key) -> String {
        create_index(table, key, &index_name(table, key), table.schema)
    }

    fn mend_index<'l>(link: &'l mut Link<'_, Self>, table: &'static Table, key: &'static Key) -> SqlFuture<'l, Mend> {
        Box::pin(mend_index(link, table, key))
    }

    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> SqlFuture<'l, Option<String>> {
        Box::pin(async move { one_row::cause(link, &row_statements::mismatch_cause(table, key)).await })
    }
}

/// Selects the columns of a table, computed ones included.
///
/// Other hidden ones are left out. A row id has no index of its own, and a primary key that is none has one.
const COLUMNS: &str = r#"
SELECT name, type, "notnull", upper(trim(coalesce(dflt_value, 'NULL'), '( )')) <> 'NULL', pk,
       (SELECT count(*) FROM pragma_table_xinfo(?1, ?2) WHERE pk > 0)
       + (SELECT count(*) FROM pragma_index_list(?1, ?2) WHERE origin = 'pk'), hidden IN (2, 3)
FROM pragma_table_xinfo(?1, ?2) WHERE hidden <> 1 ORDER BY cid"#;

/// Selects the columns of the unique indexes.
///
/// An expression has no name.
const INDEXES: &str = r#"
SELECT il.name, il.partial, ii.name FROM pragma_index_list(?1, ?2) AS il, pragma_index_xinfo(il.name, ?2) AS ii
WHERE il."unique" = 1 AND ii.key = 1 ORDER BY il.seq, ii.seqno"#;

/// Selects the table that a name means.
///
/// A temporary table hides others, and one of the main database those of databases that are attached.
const PLACE: &str = "
SELECT t.schema, t.type, t.wr, t.strict FROM pragma_table_list AS t JOIN pragma_database_list AS d ON d.name = t.schema
WHERE t.name = ?1 COLLATE NOCASE AND (?2 IS NULL OR t.schema = ?2 COLLATE NOCASE) ORDER BY t.schema <> 'temp', d.seq LIMIT 1";

/// The place and the kind of a table.
struct Place {
    schema: String,
    kind: String,
    without_rowid: bool,
    strict: bool,
}

impl Place {
    async fn of(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Option<Self>, sqlx::Error> {
        let rows = link.fetch(Statement::cached(&Sql::from(PLACE), of_table(table)?)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Self {
            schema: row.try_get(0)?,
            kind: row.try_get(1)?,
            without_rowid: row.try_get(2)?,
            strict: row.try_get(3)?,
        }))
    }

    /// Returns why a table of this kind takes no writes.
    ///
    /// Only a table has a unique index.
    fn refusal(&self, table: &Table) -> Option<String> {
        let (what, help) = match self.kind.as_str() {
            "view" => ("view", ": name the table behind it"),
            "virtual" => ("virtual table", ""),
            _ => return None,
        };
        let name = SHOWN.table(table);
        Some(format!("{name} is a {what}, which no unique index can be on, so that no call can write to it{help}"))
    }
}

/// Returns why a table of this kind takes no writes.
///
/// `None` if its kind is fine.
pub(super) async fn refuse_table(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    Ok(Place::of(link, table).await?.and_then(|place| place.refusal(table)))
}

/// Returns the statement that gives a key its unique index.
///
/// The index is made where the table is, with a name that nothing there has.
pub(super) async fn mend_index(link: &mut Link<'_, Sqlite>, table: &Table, key: &Key) -> Result<Mend, sqlx::Error> {
    let Some(place) = Place::of(link, table).await? else {
        return Ok(Mend::By(Sqlite::create_unique_index(table, key)));
    };
    if let Some(why) = place.refusal(table) {
        return Ok(Mend::Not(why));
    }
    let names = Sql::from(format!("SELECT lower(name) FROM {}.sqlite_schema", DIALECT.name(&place.schema)));
    let mut taken = HashSet::new();
    for row in link.fetch(Statement::plain(&names)).await? {
        taken.insert(row.try_get::<String, _>(0)?);
    }
    let first = index_name(table, key);
    let mut name = first.clone();
    for number in 2.. {
        if !taken.contains(&name.to_ascii_lowercase()) {
            break;
        }
        name = format!("{first}_{number}");
    }
    let is_found_without = table.schema.is_none() && ["main", "temp"].contains(&place.schema.as_str());
    Ok(Mend::By(create_index(table, key, &name, (!is_found_without).then_some(place.schema.as_str()))))
}

/// Returns the statement that makes a unique index of this name.
///
/// The schema stands before the index's name and not before the table's: <https://www.sqlite.org/lang_createindex.html>
pub(super) fn create_index(table: &Table, key: &Key, name: &str, schema: Option<&str>) -> String {
    let schema = schema.map_or_else(String::new, |schema| format!("{}.", SHOWN.name(schema)));
    let columns = SHOWN.columns(table, key.columns.iter().copied(), "");
    format!("CREATE UNIQUE INDEX {schema}{} ON {} ({columns})", SHOWN.name(name), SHOWN.name(table.name))
}

pub(super) async fn inspect(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Option<CatalogTable>, sqlx::Error> {
    let Some(place) = Place::of(link, table).await? else { return Ok(None) };
    let columns = columns(link, table, &place).await?;
    let mut indexes = indexes(link, table).await?;
    // A row id has no index of its own.
    indexes.extend(columns.iter().filter(|column| column.is_row_id).map(|row_id| CatalogIndex {
        name: "the row id".to_owned(),
        columns: vec![row_id.name.clone()],
        nulls_not_distinct: false,
        unusable: None,
    }));
    Ok(Some(CatalogTable { columns, indexes, ..CatalogTable::default() }))
}

fn of_table(table: &Table) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in [Some(table.name), table.schema] {
        arguments.add(value).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

async fn columns(link: &mut Link<'_, Sqlite>, table: &Table, place: &Place) -> Result<Vec<CatalogColumn>, sqlx::Error> {
    let mut columns = Vec::new();
    for row in link.fetch(Statement::cached(&Sql::from(COLUMNS), of_table(table)?)).await? {
        let (kind, in_key, key_parts): (String, i64, i64) = (row.try_get(1)?, row.try_get(4)?, row.try_get(5)?);
        // https://www.sqlite.org/lang_createtable.html#rowid: exactly this word makes the column the row id.
        let is_row_id = in_key > 0 && key_parts == 1 && kind.eq_ignore_ascii_case("INTEGER");
        let never_null = in_key > 0 && (place.without_rowid || place.strict) && !is_row_id;
        let computed: bool = row.try_get(6)?;
        columns.push(CatalogColumn {
            name: row.try_get(0)?,
            kind,
            nullable: !row.try_get::<bool, _>(2)? && !never_null,
            filled: is_row_id || computed || row.try_get(3)?,
            computed,
            strict: place.strict,
            is_row_id,
        });
    }
    let is_declared = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    let hidden: Vec<&str> =
        ROW_ID_NAMES.into_iter().filter(|name| !place.without_rowid && !is_declared(name)).collect();
    columns.extend(hidden.into_iter().map(hidden_row_id));
    Ok(columns)
}

/// The names of the row id, unless a column has one.
///
/// They are listed at <https://www.sqlite.org/lang_createtable.html#rowid>
const ROW_ID_NAMES: [&str; 3] = ["rowid", "oid", "_rowid_"];

/// Describes the row id as a column.
///
/// It is read like a column, and no key to write by.
fn hidden_row_id(name: &str) -> CatalogColumn {
    CatalogColumn {
        name: name.to_owned(),
        kind: "INTEGER".to_owned(),
        nullable: false,
        filled: true,
        computed: true,
        strict: false,
        is_row_id: true,
    }
}

/// Returns the statement that adds a column for such a field.
///
/// The types are those that STRICT tables have too.
pub(super) fn add_column(table: &Table, column: &Column, field: &str) -> Option<String> {
    let kind = match Class::of_field(field) {
        Class::Integer => "INTEGER",
        Class::Real => "REAL",
        Class::Text => "TEXT",
        Class::Blob => "BLOB",
    };
    let null = if column.nullable { "" } else { " NOT NULL" };
    let (table, name) = (SHOWN.table(table), SHOWN.name(column.name));
    // Nothing would fill it in.
    (column.nullable || !column.generated).then(|| format!("ALTER TABLE {table} ADD COLUMN {name} {kind}{null}"))
}

async fn indexes(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Vec<CatalogIndex>, sqlx::Error> {
    let mut indexes: Vec<CatalogIndex> = Vec::new();
    for row in link.fetch(Statement::cached(&Sql::from(INDEXES), of_table(table)?)).await? {
        let (name, partial, column): (String, bool, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if indexes.last().is_none_or(|index| index.name != name) {
            let unusable = partial.then(|| {
                "it is partial, and keeps only those rows apart that its WHERE holds for: make one without WHERE"
                    .to_owned()
            });
            indexes.push(CatalogIndex { name, columns: Vec::new(), nulls_not_distinct: false, unusable });
        }
        if let Some(index) = indexes.last_mut() {
            // No column has the empty name of an expression, so an index with one is on no key.
            index.columns.push(column.unwrap_or_default());
        }
    }
    Ok(indexes)
}

/// The storage class of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Integer,
    Real,
    Text,
    Blob,
}

impl Class {
    /// Returns the class that a field sends.
    ///
    /// Dates and times are sent as text.
    fn of_field(kind: &str) -> Self {
        match kind {
            "INTEGER" | "INT4" | "INT8" | "BIGINT" | "INT" | "BOOLEAN" => Self::Integer,
            "REAL" => Self::Real,
            "BLOB" => Self::Blob,
            _ => Self::Text,
        }
    }
}

/// Returns how a column fits a field of this type.
///
/// It goes by the column's affinity: <https://www.sqlite.org/datatype3.html#determination_of_column_affinity>. A strict column, and a row
/// id, refuses what is not of its type: <https://www.sqlite.org/stricttables.html>. The driver reads a value by the class that it is stored
/// with.
pub(super) fn fit(kind: &str, column: &CatalogColumn) -> Fit {
    let declared = column.kind.as_str();
    let upper = declared.to_ascii_uppercase();
    let has = |word: &str| upper.contains(word);
    let sent = Class::of_field(kind);
    let kept = match () {
        () if has("INT") => Some(Class::Integer),
        () if has("CHAR") || has("CLOB") || has("TEXT") => Some(Class::Text),
        () if has("BLOB") || upper.is_empty() => Some(Class::Blob),
        () if has("REAL") || has("FLOA") || has("DOUB") => Some(Class::Real),
        () if column.strict => return Fit::Holds,
        () => None,
    };
    if (column.strict || column.is_row_id) && kept.is_some_and(|kept| kept != sent) {
        return Fit::Refuses(format!("it is declared {declared}, which takes no {kind} as it is"));
    }
    match (sent, kept) {
        (Class::Integer | Class::Real, Some(Class::Text)) => Fit::Refuses(format!(
            "it is declared {declared}, which turns numbers into text, and the field sends {kind}"
        )),
        (Class::Integer, Some(Class::Real)) => Fit::Refuses(format!(
            "it is declared {declared}, which turns integers into floating-point numbers, and the field is one of {kind}"
        )),
        (Class::Text, Some(Class::Integer | Class::Real) | None) if kind == "TEXT" => {
            Fit::Loses(format!("it is declared {declared}, which turns text that looks like a number into one"))
        }
        (Class::Real, Some(Class::Integer) | None) => {
            Fit::Loses(format!("it is declared {declared}, which turns whole numbers of the field into integers"))
        }
        _ => Fit::Holds,
    }
}
