//! Questions to the server's catalogue about a table.

use sqlx::{
    Arguments as _, Column as _, MySql, Row as _, TypeInfo as _,
    mysql::{MySqlArguments, MySqlTypeInfo},
};

use crate::{
    backend::catalogue::{CatalogColumn, CatalogIndex, CatalogTable, Catalogue, Fit, Mend},
    backend::mysql::dialect::DIALECT,
    backend::mysql::{column_types, row_statements},
    connection::link::Link,
    error::mysql::is_no_table,
    error::problem::Problem,
    outcome::SqlFuture,
    sql::dialect::index_name,
    sql::statement::Statement,
    sql::table::{Column, Key, Table},
    sql::text::Sql,
};

impl Catalogue for MySql {
    fn inspect<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<CatalogTable>> {
        Box::pin(inspect(link, table))
    }

    fn refuse_table<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<String>> {
        Box::pin(refuse_table(link, table))
    }

    fn fit(kind: &MySqlTypeInfo, column: &CatalogColumn) -> Fit {
        column_types::fit(kind.name(), column)
    }

    fn same_name(one: &str, other: &str) -> bool {
        one.to_lowercase() == other.to_lowercase()
    }

    fn add_column(table: &Table, column: &Column, kind: &MySqlTypeInfo) -> Option<String> {
        add_column(table, column, kind.name())
    }

    fn allow_null<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        column: &'static Column,
    ) -> SqlFuture<'l, Option<String>> {
        Box::pin(allow_null(link, table, column))
    }

    fn create_unique_index(table: &Table, key: &Key) -> String {
        create_unique_index(table, key)
    }

    fn mend_index<'l>(link: &'l mut Link<'_, Self>, table: &'static Table, key: &'static Key) -> SqlFuture<'l, Mend> {
        Box::pin(mend_index(link, table, key))
    }

    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> SqlFuture<'l, Option<String>> {
        Box::pin(async move { causes(link, &row_statements::ask_cause(table, key)).await })
    }
}

/// Selects the columns of a table with their types.
///
/// A type comes with its character set where that cannot hold all text. MariaDB's default of a column that has none is the word NULL.
const COLUMNS: &str = "
SELECT CAST(column_name AS CHAR),
       CAST(CONCAT(column_type,
           IF(COALESCE(character_set_name, 'utf8mb4') = 'utf8mb4', '', CONCAT(' CHARACTER SET ', character_set_name))) AS CHAR),
       is_nullable = 'YES',
       (column_default IS NOT NULL AND NOT (is_nullable = 'YES' AND column_default = 'NULL'))
           OR extra LIKE '%auto_increment%' OR extra LIKE '%GENERATED%',
       extra LIKE '%VIRTUAL GENERATED%' OR extra LIKE '%STORED GENERATED%', extra LIKE '%auto_increment%'
FROM information_schema.columns
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position LIMIT 18446744073709551615";

/// Selects a column's definition if it is only a type.
///
/// The column is allowed to be NULL, and its definition says no more than its type.
const PLAIN_COLUMN: &str = "
SELECT CAST(CONCAT(column_type, COALESCE(CONCAT(' CHARACTER SET ', character_set_name, ' COLLATE ', collation_name), '')) AS CHAR)
FROM information_schema.columns
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND column_name = ?
      AND column_default IS NULL AND extra = '' AND column_comment = '' AND column_key <> 'PRI' LIMIT 1";

/// Selects the columns of the unique indexes.
///
/// An expression has no name.
const INDEXES: &str = "
SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), CAST(sub_part AS SIGNED) FROM information_schema.statistics
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index
LIMIT 18446744073709551615";

/// Tests if a trigger before INSERT may fill the columns.
///
/// MariaDB wants a value all the same, of rows that come from a query.
const FILLING: &str = "
SELECT 1 FROM information_schema.triggers WHERE event_object_schema = COALESCE(?, DATABASE()) AND event_object_table = ?
AND event_manipulation = 'INSERT' AND action_timing = 'BEFORE' AND VERSION() NOT LIKE '%MariaDB%' LIMIT 1";

/// Selects the columns that a table is partitioned by.
///
/// They are in backticks. Without any, it is partitioned by its primary key.
const PARTITIONED: &str = "
SELECT DISTINCT CAST(COALESCE(partition_method, '') AS CHAR), CAST(COALESCE(partition_expression, '') AS CHAR),
       CAST(COALESCE(subpartition_method, '') AS CHAR), CAST(COALESCE(subpartition_expression, '') AS CHAR)
FROM information_schema.partitions WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? LIMIT 18446744073709551615";

/// Selects the bytes that each column takes in an index.
///
/// 0 on a server whose indexes take a column of any length.
const WIDTHS: &str = "
SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR),
       CAST(IF(VERSION() LIKE '%MariaDB%', 0, IF(data_type LIKE '%text' OR data_type LIKE '%blob' OR data_type = 'json', 4294967295,
           COALESCE(character_octet_length, 8))) AS SIGNED)
FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? LIMIT 18446744073709551615";

/// Selects the engine and the type of a table.
///
/// The catalogue says it of those that are not temporary.
const KIND: &str = "
SELECT CAST(COALESCE(engine, '') AS CHAR), CAST(table_type AS CHAR) FROM information_schema.tables
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND table_type <> 'TEMPORARY' LIMIT 1";

/// The kind of a table: its engine and what it is.
struct TableKind {
    /// The reason that no call works on it, if any.
    refusal: Option<String>,
    engine: String,
    is_versioned: bool,
    /// True if columns show when a row was valid.
    ///
    /// The table has columns of its own for that time, which are in each unique index.
    shows_times: bool,
}

impl TableKind {
    async fn of(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<Self>, sqlx::Error> {
        let Some((first, create)) = show_create(link, table).await? else { return Ok(None) };
        let rows = link.fetch(of_table(KIND, table)?).await?;
        let (engine, kind): (String, String) = match rows.first() {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => (String::new(), String::new()),
        };
        let refusal = if first == "View" {
            Some("a view, which has no indexes: name the table behind it".to_owned())
        } else if create.starts_with("CREATE TEMPORARY") {
            Some("a temporary table on this connection, of which the server's catalogue lists no indexes".to_owned())
        } else if kind == "SEQUENCE" {
            Some("a sequence".to_owned())
        } else if is_any_of(&engine, &ELSEWHERE) {
            Some(format!("of the storage engine {engine}, whose rows are elsewhere and kept unique by nobody"))
        } else {
            None
        };
        let name = DIALECT.table(table);
        Ok(Some(Self {
            refusal: refusal
                .map(|kind| format!("{name} is {kind}, and a call writes nothing where it finds no unique index")),
            engine,
            is_versioned: kind == "SYSTEM VERSIONED",
            shows_times: create.lines().any(|line| line.trim_start().starts_with("PERIOD FOR SYSTEM_TIME")),
        }))
    }

    fn is_engine(&self, engines: &[&str]) -> bool {
        is_any_of(&self.engine, engines)
    }

    /// Returns the prefix of a statement that changes the table.
    ///
    /// The history of its rows is kept.
    fn before_ddl(&self) -> &'static str {
        if self.is_versioned { "SET STATEMENT system_versioning_alter_history = KEEP FOR " } else { "" }
    }
}

fn is_any_of(engine: &str, engines: &[&str]) -> bool {
    engines.iter().any(|one| engine.eq_ignore_ascii_case(one))
}

/// Engines without rows of their own.
const ELSEWHERE: [&str; 5] = ["MRG_MyISAM", "FEDERATED", "CONNECT", "SPIDER", "S3"];

/// Engines on which some call fails whatever is done, and why.
const UNFIT: [(&str, &str); 4] = [
    ("CSV", "has no indexes"),
    ("ARCHIVE", "has no indexes and no UPDATE"),
    ("BLACKHOLE", "keeps no row"),
    ("Aria", "has no savepoints, so that no call works inside a transaction"),
];

fn change_engine(table: &Table) -> String {
    format!("ALTER TABLE {} ENGINE = InnoDB", DIALECT.table(table))
}

/// Returns why a table of this kind takes no calls.
pub(super) async fn refuse_table(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    Ok(TableKind::of(link, table).await?.and_then(|nature| nature.refusal))
}

/// Returns the statement that makes a unique index, or an obstacle.
pub(super) async fn mend_index(link: &mut Link<'_, MySql>, table: &Table, key: &Key) -> Result<Mend, sqlx::Error> {
    let Some(nature) = TableKind::of(link, table).await? else { return Ok(Mend::By(create_unique_index(table, key))) };
    if let Some(why) = nature.refusal {
        return Ok(Mend::Not(why));
    }
    if nature.shows_times {
        return Ok(Mend::Not(
            "each unique index holds the end of each row's time too, as the table has a column for it".to_owned(),
        ));
    }
    if is_partitioned_otherwise(link, table, key).await? {
        return Ok(Mend::Not("it is partitioned by columns that are not in the key".to_owned()));
    }
    if let Some(column) = too_long(link, table, key, &nature).await? {
        return Ok(Mend::Not(format!("{column}, too long for an index, so declare it shorter")));
    }
    let unfit = UNFIT.iter().any(|(engine, _)| nature.is_engine(&[engine]));
    let mut taken = false;
    for row in link.fetch(of_table(INDEXES, table)?).await? {
        taken |= row.try_get::<&str, _>(0)?.to_lowercase() == index_name(table, key).to_lowercase();
    }
    let create = if unfit {
        format!("{}, ADD {}", change_engine(table), unnamed(table, key))
    } else if taken {
        format!("ALTER TABLE {} ADD {}", DIALECT.table(table), unnamed(table, key))
    } else {
        create_unique_index(table, key)
    };
    Ok(Mend::By(format!("{}{create}", nature.before_ddl())))
}

/// Tests if the table is partitioned by columns outside the key.
///
/// A unique index has every column by which its table is partitioned.
async fn is_partitioned_otherwise(link: &mut Link<'_, MySql>, table: &Table, key: &Key) -> Result<bool, sqlx::Error> {
    let is_in_key =
        |name: &str| key.columns.iter().any(|&column| table.columns[column].name.to_lowercase() == name.to_lowercase());
    for row in link.fetch(of_table(PARTITIONED, table)?).await? {
        for (method, expression) in [(0, 1), (2, 3)] {
            let (method, expression): (String, String) = (row.try_get(method)?, row.try_get(expression)?);
            // The name between two backticks has an odd number.
            let outside = expression.split('`').skip(1).step_by(2).any(|name| !is_in_key(name));
            let by_primary_key = method.ends_with("KEY") && expression.is_empty();
            if outside || (by_primary_key && primary_key(link, table).await?.iter().any(|name| !is_in_key(name))) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn primary_key(link: &mut Link<'_, MySql>, table: &Table) -> Result<Vec<String>, sqlx::Error> {
    let indexes = indexes(link, table).await?;
    Ok(indexes.into_iter().find(|index| index.name == "PRIMARY").map_or_else(Vec::new, |index| index.columns))
}

/// The most bytes of a row in an index of InnoDB.
///
/// [`INDEX_BYTES_MYISAM`] is that in `MyISAM`.
const INDEX_BYTES: i64 = 3_072;
const INDEX_BYTES_MYISAM: i64 = 1_000;

/// Returns the longest column of a key that no index holds.
///
/// `None` if an index holds the key's columns as they are.
async fn too_long(
    link: &mut Link<'_, MySql>,
    table: &Table,
    key: &Key,
    nature: &TableKind,
) -> Result<Option<String>, sqlx::Error> {
    let (mut bytes, mut longest) = (0, (0, String::new()));
    for row in link.fetch(of_table(WIDTHS, table)?).await? {
        let (name, declared, width): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if key.columns.iter().any(|&column| table.columns[column].name.to_lowercase() == name.to_lowercase()) {
            bytes += width;
            longest = longest.max((width, format!("the column {name} is declared {declared}")));
        }
    }
    let most = if nature.is_engine(&["MyISAM"]) { INDEX_BYTES_MYISAM } else { INDEX_BYTES };
    Ok((bytes > most).then_some(longest.1))
}

/// Returns the name of the first column and the CREATE statement.
///
/// They are those of the answer to SHOW CREATE. `None` if there is no table.
async fn show_create(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<(String, String)>, sqlx::Error> {
    let show = Sql::from(format!("SHOW CREATE TABLE {}", DIALECT.table(table)));
    let rows = match link.fetch(Statement::plain(&show)).await {
        Err(error) if is_no_table(&error) => return Ok(None),
        rows => rows?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let first = row.columns().first().map(|column| column.name().to_owned());
    Ok(Some((first.unwrap_or_default(), row.try_get(1)?)))
}

/// Joins all causes into one sentence.
///
/// `None` if there are none.
pub(super) async fn causes(link: &mut Link<'_, MySql>, ask: &Sql) -> Result<Option<String>, sqlx::Error> {
    let mut causes = Vec::new();
    for row in link.fetch(Statement::plain(ask)).await? {
        causes.push(row.try_get::<String, _>(0)?);
    }
    Ok((!causes.is_empty()).then(|| causes.join(", ")))
}

/// Returns the MODIFY that lets a column be NULL, if safe.
///
/// MODIFY has to be told the whole column anew, and what it is not told is lost: so only a column of which nothing else is said, and of a
/// table without CHECK.
pub(super) async fn allow_null(
    link: &mut Link<'_, MySql>,
    table: &Table,
    column: &Column,
) -> Result<Option<String>, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for value in [table.schema, Some(table.name), Some(column.name)] {
        arguments.add(value).map_err(sqlx::Error::Encode)?;
    }
    let definition = link.fetch(Statement::cached(&Sql::from(PLAIN_COLUMN), arguments)).await?;
    let Some(definition) = definition.first() else { return Ok(None) };
    let has_check = show_create(link, table).await?.is_none_or(|(_, create)| create.contains("CHECK ("));
    let definition: String = definition.try_get(0)?;
    Ok((!has_check).then(|| {
        format!("ALTER TABLE {} MODIFY COLUMN {} {definition} NULL", DIALECT.table(table), DIALECT.name(column.name))
    }))
}

/// Returns the statement that adds a column for such a field.
///
/// The types hold all that the field sends. An index holds no long ones.
pub(super) fn add_column(table: &Table, column: &Column, field: &str) -> Option<String> {
    let indexed = table.keys.iter().any(|key| key.columns.iter().any(|&key| table.columns[key].name == column.name));
    let kind = match field {
        "VARCHAR" if indexed => "VARCHAR(255)",
        "VARCHAR" => "LONGTEXT",
        "BLOB" if indexed => "VARBINARY(255)",
        "BLOB" => "LONGBLOB",
        // The driver sends JSON so.
        "BINARY" => "JSON",
        "DECIMAL" => "DECIMAL(65,30)",
        "TIME" => "TIME(6)",
        "DATETIME" => "DATETIME(6)",
        "TIMESTAMP" => "TIMESTAMP(6)",
        // Its words are not known here.
        "ENUM" => return None,
        other => other,
    };
    let null = match (column.nullable, column.generated) {
        (true, _) => "NULL",
        (false, false) => "NOT NULL",
        // What else the database would fill in is not known.
        (false, true) if kind.contains("INT") => "NOT NULL AUTO_INCREMENT UNIQUE",
        (false, true) => return None,
    };
    Some(format!("ALTER TABLE {} ADD COLUMN {} {kind} {null}", DIALECT.table(table), DIALECT.name(column.name)))
}

/// The most characters that a name can have.
const NAME_LENGTH: usize = 64;

/// Returns the statement that makes the key's unique index.
///
/// A name that is too long is left to the server to choose.
pub(super) fn create_unique_index(table: &Table, key: &Key) -> String {
    if index_name(table, key).chars().count() <= NAME_LENGTH {
        let (index, columns) = (index_name(table, key), DIALECT.columns(table, key.columns.iter().copied(), ""));
        return format!("CREATE UNIQUE INDEX {} ON {} ({columns})", DIALECT.name(&index), DIALECT.table(table));
    }
    format!("ALTER TABLE {} ADD {}", DIALECT.table(table), unnamed(table, key))
}

fn unnamed(table: &Table, key: &Key) -> String {
    format!("UNIQUE INDEX ({})", DIALECT.columns(table, key.columns.iter().copied(), ""))
}

pub(super) async fn inspect(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<CatalogTable>, sqlx::Error> {
    let mut found = CatalogTable::default();
    for row in link.fetch(of_table(COLUMNS, table)?).await? {
        found.counts |= row.try_get::<bool, _>(5)?;
        found.columns.push(CatalogColumn {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            nullable: row.try_get(2)?,
            filled: row.try_get(3)?,
            computed: row.try_get(4)?,
            strict: true,
            is_row_id: false,
        });
    }
    let Some(nature) = TableKind::of(link, table).await? else { return Ok(None) };
    if found.columns.is_empty() {
        return Ok(None);
    }
    found.indexes = indexes(link, table).await?;
    found.has_filling_trigger = !link.fetch(of_table(FILLING, table)?).await?.is_empty();
    found.before_ddl = nature.before_ddl();
    note_engine(link, table, &nature, &mut found).await?;
    Ok(Some(found))
}

/// Notes the limits and surprises of the table's storage engine.
async fn note_engine(
    link: &mut Link<'_, MySql>,
    table: &Table,
    nature: &TableKind,
    found: &mut CatalogTable,
) -> Result<(), sqlx::Error> {
    let engine = &nature.engine;
    if let Some((_, why)) = UNFIT.iter().find(|(unfit, _)| nature.is_engine(&[unfit])) {
        let fix = format!("{}{}", nature.before_ddl(), change_engine(table));
        found.problems.push(Problem { what: format!("its storage engine {engine} {why}"), fix: Some(fix) });
        return Ok(());
    }
    let ask = "SELECT 1 FROM information_schema.engines WHERE engine = ? AND transactions = 'NO' LIMIT 1";
    let mut arguments = MySqlArguments::default();
    arguments.add(engine).map_err(sqlx::Error::Encode)?;
    if !link.fetch(Statement::cached(&Sql::from(ask), arguments)).await?.is_empty() {
        found.warnings.push(format!(
            "its storage engine is {engine}, which has no transactions: a call that fails keeps what it has written until then"
        ));
    }
    Ok(())
}

async fn indexes(link: &mut Link<'_, MySql>, table: &Table) -> Result<Vec<CatalogIndex>, sqlx::Error> {
    let mut indexes: Vec<CatalogIndex> = Vec::new();
    for row in link.fetch(of_table(INDEXES, table)?).await? {
        let (name, column, part): (String, Option<String>, Option<i64>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if indexes.last().is_none_or(|index| index.name != name) {
            indexes.push(CatalogIndex { name, columns: Vec::new(), nulls_not_distinct: false, unusable: None });
        }
        if let Some(index) = indexes.last_mut() {
            // No column has the empty name of an expression, so an index with one is on no key.
            let column = column.unwrap_or_default();
            if let Some(part) = part {
                index.unusable = Some(format!("it covers only the first {part} characters of {column}"));
            }
            index.columns.push(column);
        }
    }
    Ok(indexes)
}

fn of_table(sql: &str, table: &Table) -> Result<Statement<MySql>, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    arguments.add(table.schema).and_then(|()| arguments.add(table.name)).map_err(sqlx::Error::Encode)?;
    Ok(Statement::cached(&Sql::from(sql), arguments))
}
