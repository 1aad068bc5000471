//! Questions to PostgreSQL's catalogue about a table.

use sqlx::{
    Postgres, Row as _, TypeInfo as _,
    postgres::{PgRow, PgTypeInfo},
};

use crate::{
    backend::catalogue::{CatalogColumn, CatalogIndex, CatalogTable, Catalogue, Fit, Mend},
    backend::postgres::dialect::{DIALECT, table_name, text},
    backend::postgres::{key_index, row_statements, stage_statements},
    connection::link::Link,
    connection::savepoint_guard::{Guarding, SavepointGuard},
    error::meaning::Meaning,
    error::postgres::database_error,
    error::problem::Problem,
    outcome::SqlFuture,
    sql::statement::Statement,
    sql::table::{Column, Key, Table},
    sql::text::Sql,
};

impl Catalogue for Postgres {
    fn inspect<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<CatalogTable>> {
        Box::pin(inspect(link, table))
    }

    fn refuse_table<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<String>> {
        Box::pin(refuse_table(link, table))
    }

    fn fit(kind: &PgTypeInfo, column: &CatalogColumn) -> Fit {
        fit(kind, &column.kind)
    }

    fn same_name(one: &str, other: &str) -> bool {
        one == other
    }

    fn add_column(table: &Table, column: &Column, kind: &PgTypeInfo) -> Option<String> {
        add_column(table, column, kind)
    }

    fn allow_null<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        column: &'static Column,
    ) -> SqlFuture<'l, Option<String>> {
        Box::pin(allow_null(link, table, column))
    }

    // The server finds a name that is free: an index that does not count may have the one that would be given here.
    fn create_unique_index(table: &Table, key: &Key) -> String {
        let columns = DIALECT.columns(table, key.columns.iter().copied(), "");
        let nulls = if key.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
        format!("CREATE UNIQUE INDEX ON {} ({columns}){nulls}", DIALECT.table(table))
    }

    fn mend_index<'l>(link: &'l mut Link<'_, Self>, table: &'static Table, key: &'static Key) -> SqlFuture<'l, Mend> {
        Box::pin(mend_index(link, table, key))
    }

    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> SqlFuture<'l, Option<String>> {
        Box::pin(async move {
            let rows = link.fetch(Statement::plain(&key_index::mismatch_cause(table, key))).await?;
            rows.first().map_or(Ok(None), |row| row.try_get(0))
        })
    }
}

/// Selects the kind of a relation `c`, and what forbids writing.
///
/// These are: its kind, whether rows can be inserted into it, a rule of it for INSERT or UPDATE, a trigger that stands in for an INSERT,
/// whether it is partitioned and has no partition, and what a policy would have to allow and none does.
///
/// Any rule for UPDATE makes the server refuse a conflict clause, one that is disabled too; of those for INSERT one that applies and does
/// something.
const KIND: &str = "SELECT c.relkind::pg_catalog.text, pg_catalog.pg_relation_is_updatable(c.oid, false) & 8 = 8, \
    (SELECT w.rulename::pg_catalog.text FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = c.oid AND (w.ev_type = '2' OR w.ev_type = '3' \
    AND (w.ev_enabled = 'A' OR w.ev_enabled = CASE pg_catalog.current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END) \
    AND (w.is_instead OR pg_catalog.pg_get_ruledef(w.oid) NOT LIKE '%DO NOTHING;')) ORDER BY w.rulename LIMIT 1), \
    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = c.oid AND g.tgtype & 68 = 68 AND g.tgenabled <> 'D'), \
    c.relkind = 'p' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid) AS t WHERE t.isleaf), \
    CASE WHEN pg_catalog.row_security_active(c.oid) THEN (SELECT pg_catalog.string_agg(k.name, ', ') \
    FROM (VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE')) AS k (command, name) WHERE NOT EXISTS (\
    SELECT 1 FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd::pg_catalog.text IN (k.command, '*') \
    AND EXISTS (SELECT 1 FROM pg_catalog.unnest(p.polroles) AS r (role) WHERE r.role = 0 OR pg_catalog.pg_has_role(r.role, 'USAGE')))) END \
    FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass";

/// Finds the relations behind a view.
///
/// They are the views that it is made of, and the tables behind them, itself among them.
const BEHIND: &str = "WITH RECURSIVE behind (oid) AS (SELECT pg_catalog.to_regclass({table})::pg_catalog.oid UNION SELECT d.refobjid \
    FROM behind JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = behind.oid AND w.ev_type = '1' \
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid \
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)";

/// Returns why a table of this kind takes no writes.
///
/// `None` if its kind is fine.
pub(super) async fn refuse_table(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let ask = Sql::from(format!("{KIND}({})", table_name(table)));
    let rows = link.fetch(Statement::plain(&ask)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (kind, takes_rows): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    let (rule, policies): (Option<String>, Option<String>) = (row.try_get(2)?, row.try_get(5)?);
    let (has_stand_in, is_empty): (bool, bool) = (row.try_get(3)?, row.try_get(4)?);
    let name = DIALECT.table(table);
    if let Some(rule) = rule {
        let why = "with which the server takes no ON CONFLICT: make a trigger of it";
        return Ok(Some(format!("{name} has the rule {rule}, {why}")));
    }
    if let Some(commands) = policies {
        return Ok(Some(format!("{name} has row-level security, and no policy lets this user do {commands}")));
    }
    Ok(match kind.as_str() {
        "p" if is_empty => Some(format!("{name} is partitioned and has no partition, so that it takes no row")),
        "r" | "p" => None,
        "v" if takes_rows && !has_stand_in => refuse_view(link, table).await?,
        "v" => {
            Some(format!("{name} is a view that takes no rows, or hands them to a trigger: name the table behind it"))
        }
        "m" => Some(format!("{name} is a materialized view, which takes no rows: name the table behind it")),
        "f" => Some(format!("{name} is a foreign table, and this server cannot keep a key of it unique")),
        _ => Some(format!("{name} is not a table")),
    })
}

/// Returns why no writing call works on a view.
///
/// The index is on the table behind it, where the server finds it: so it is asked whether it does.
async fn refuse_view(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let name = DIALECT.table(table);
    for key in &table.keys {
        let columns = DIALECT.columns(table, key.columns.iter().copied(), "");
        if key.nulls_not_distinct {
            return Ok(Some(format!(
                "{name} is a view, through which the index of a key with `nulls_not_distinct` ({columns}) is not found: \
                 name the table behind it"
            )));
        }
        let explain = Sql::from(format!("EXPLAIN (COSTS OFF) {}", row_statements::probe(table, key)));
        let guard = SavepointGuard::begin(link, Guarding::Transaction).await?;
        let plan = guard.link.fetch(Statement::plain(&explain)).await;
        let plan = match guard.end(plan).await {
            Ok(plan) => plan,
            Err(error) if Meaning::of(&error).missing_index => {
                return Ok(Some(format!(
                    "{name} is a view, and the table behind it has no unique index on ({columns})"
                )));
            }
            // Columns that are missing are told by themselves.
            Err(error) if is_of(&error, &["42703"]) => return Ok(None),
            Err(error) if is_of(&error, &["0A000", "55000", "428C9"]) => {
                let says = error.as_database_error().map_or("", |error| error.message());
                return Ok(Some(format!(
                    "{name} is a view that does not take the model's rows ({says}): name the table behind it"
                )));
            }
            Err(error) => return Err(error),
        };
        if is_checked_late(link, table, &plan).await? {
            return Ok(Some(format!(
                "{name} is a view, and the constraint on ({columns}) of the table behind it is deferrable"
            )));
        }
    }
    left_out(link, table).await
}

fn is_of(error: &sqlx::Error, codes: &[&str]) -> bool {
    database_error(error).is_some_and(|error| codes.contains(&error.code()))
}

/// Tests if a plan's conflict index is checked late.
///
/// A plan names the indexes of its conflict clause.
async fn is_checked_late(link: &mut Link<'_, Postgres>, table: &Table, plan: &[PgRow]) -> Result<bool, sqlx::Error> {
    let mut names = Vec::new();
    for row in plan {
        if let Some(indexes) = row.try_get::<&str, _>(0)?.trim().strip_prefix("Conflict Arbiter Indexes: ") {
            names.extend(indexes.split(", ").map(text));
        }
    }
    if names.is_empty() {
        return Ok(false);
    }
    let behind = BEHIND.replace("{table}", &table_name(table));
    let ask = format!(
        "{behind} SELECT 1 FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         WHERE i.indrelid IN (SELECT oid FROM behind) AND NOT i.indimmediate AND c.relname IN ({})",
        names.join(", ")
    );
    Ok(!link.fetch(Statement::plain(&ask.into())).await?.is_empty())
}

/// Finds a column behind a view that its rows lack.
///
/// A row needs a value in it. It is asked where one table is behind the view.
async fn left_out(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let behind = BEHIND.replace("{table}", &table_name(table));
    let ask = format!(
        "{behind} SELECT a.attname::pg_catalog.text FROM (SELECT pg_catalog.min(c.oid::pg_catalog.int8)::pg_catalog.oid AS oid FROM behind \
         JOIN pg_catalog.pg_class AS c ON c.oid = behind.oid AND c.relkind <> 'v' HAVING count(*) = 1) AS c \
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull \
         AND NOT a.atthasdef AND a.attidentity = '' JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid AND y.typdefault IS NULL \
         WHERE NOT EXISTS (SELECT 1 FROM behind JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = behind.oid AND w.ev_type = '1' \
         JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid \
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum) \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = c.oid AND {FILLING}) ORDER BY a.attnum LIMIT 1"
    );
    let rows = link.fetch(Statement::plain(&ask.into())).await?;
    let column: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
    let name = DIALECT.table(table);
    Ok(column.map(|column| {
        format!(
            "{name} is a view without the column {column} of the table behind it, which is NOT NULL without a default"
        )
    }))
}

/// Condition that a row trigger `g` runs before an INSERT.
const FILLING: &str = "NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 7 = 7";

pub(super) async fn inspect(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<CatalogTable>, sqlx::Error> {
    let mut columns = columns(link, table).await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut found = CatalogTable { indexes: indexes(link, table).await?, ..CatalogTable::default() };
    let is_view = nature(link, table, &mut found).await?;
    if is_view {
        // A view without them is refused.
        found.indexes.extend(table.keys.iter().map(|key| index_behind_view(table, key)));
        // What may be NULL or left out is known of the table behind it only.
        for there in &mut columns {
            let field = table.columns.iter().find(|column| column.name == there.name);
            there.nullable = field.is_none_or(|column| column.nullable);
            there.filled = true;
        }
    }
    Ok(Some(CatalogTable { columns, ..found }))
}

/// Selects what is special about a relation `c`.
///
/// These are: its kind, whether updates of it are published and its rows have no identity, the tables that inherit from it, whether a
/// trigger can fill columns in, and whether its columns are those of another.
fn ask_nature(table: &Table) -> Sql {
    format!(
        "SELECT c.relkind::pg_catalog.text, c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_publication AS p, \
         LATERAL pg_catalog.pg_get_publication_tables(p.pubname::pg_catalog.text) AS t WHERE p.pubupdate AND t.relid = c.oid) \
         AND (c.relreplident = 'n' OR c.relreplident <> 'f' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid \
         AND i.indimmediate AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END)), \
         CASE c.relkind WHEN 'r' THEN (SELECT pg_catalog.string_agg(n.inhrelid::pg_catalog.regclass::pg_catalog.text, ', ') \
         FROM pg_catalog.pg_inherits AS n WHERE n.inhparent = c.oid) END, \
         EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = c.oid AND {FILLING}), \
         c.relkind = 'v' OR c.relispartition OR c.reloftype <> 0 \
         FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass({})",
        table_name(table)
    )
    .into()
}

/// Notes problems of a table; returns whether it is a view.
///
/// The problems are those beside its columns and indexes.
async fn nature(link: &mut Link<'_, Postgres>, table: &Table, found: &mut CatalogTable) -> Result<bool, sqlx::Error> {
    let rows = link.fetch(Statement::plain(&ask_nature(table))).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    if row.try_get(1)? {
        let name = DIALECT.table(table);
        found.problems.push(Problem {
            what: "its updates are published, and its rows have no replica identity, so that the server refuses every UPDATE"
                .to_owned(),
            fix: Some(format!("ALTER TABLE {name} REPLICA IDENTITY FULL")),
        });
    }
    if let Some(heirs) = row.try_get::<Option<String>, _>(2)? {
        found.warnings.push(format!(
            "its unique indexes do not cover the tables that inherit from it ({heirs}), so that a key can have a row in each"
        ));
    }
    found.has_filling_trigger = row.try_get(3)?;
    found.is_closed = row.try_get(4)?;
    Ok(row.try_get::<&str, _>(0)? == "v")
}

/// Selects the obstacles to a unique index on the key.
///
/// These are: constraints on the same columns that are checked late, each with the words that drop it, whether one of them is the primary
/// key, one that is of a parent, whether there is a good index beside them, whether the table is partitioned by another column, and whether
/// a partition is foreign.
fn ask_obstacles(table: &Table, key: &Key) -> Sql {
    let names: Vec<String> = key.columns.iter().map(|&column| text(table.columns[column].name)).collect();
    let (on_key, names) = (key_index::on_exactly(table, key), names.join(", "));
    let late = format!(
        "FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_constraint AS o ON o.conindid = i.indexrelid AND o.contype IN ('u', 'p') \
         WHERE {on_key} AND NOT i.indimmediate"
    );
    let nulls = if key.nulls_not_distinct {
        " AND (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool"
    } else {
        ""
    };
    format!(
        "SELECT (SELECT pg_catalog.string_agg('DROP CONSTRAINT ' || pg_catalog.quote_ident(o.conname), ', ' ORDER BY o.conname) {late}), \
         EXISTS (SELECT 1 {late} AND o.contype = 'p'), (SELECT pg_catalog.min(o.conname::pg_catalog.text) {late} AND o.coninhcount > 0), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE {on_key} AND i.indimmediate{nulls}), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid) AS t JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid = t.relid \
         CROSS JOIN LATERAL pg_catalog.unnest(p.partattrs::pg_catalog.int2[]) AS n (number) LEFT JOIN pg_catalog.pg_attribute AS a \
         ON a.attrelid = p.partrelid AND a.attnum = n.number AND n.number > 0 WHERE a.attname IS NULL OR a.attname NOT IN ({names})), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid) AS t JOIN pg_catalog.pg_class AS f ON f.oid = t.relid AND f.relkind = 'f') \
         FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass({})",
        table_name(table)
    )
    .into()
}

/// Returns the statement that gives a key its unique index.
///
/// Beside a constraint that is checked late, no other index is any good.
pub(super) async fn mend_index(link: &mut Link<'_, Postgres>, table: &Table, key: &Key) -> Result<Mend, sqlx::Error> {
    if let Some(why) = refuse_table(link, table).await? {
        return Ok(Mend::Not(why));
    }
    let rows = link.fetch(Statement::plain(&ask_obstacles(table, key))).await?;
    let Some(row) = rows.first() else { return Ok(Mend::By(Postgres::create_unique_index(table, key))) };
    if row.try_get(4)? {
        return Ok(Mend::Not("it is partitioned by columns that are not in the key".to_owned()));
    }
    if row.try_get(5)? {
        return Ok(Mend::Not("a partition of it is a foreign table".to_owned()));
    }
    if let Some(inherited) = row.try_get::<Option<String>, _>(2)? {
        return Ok(Mend::Not(format!(
            "the deferrable constraint {inherited} is one of the table that this is a part of"
        )));
    }
    let Some(drops) = row.try_get::<Option<String>, _>(0)? else {
        return Ok(Mend::By(Postgres::create_unique_index(table, key)));
    };
    let (was_primary, has_other): (bool, bool) = (row.try_get(1)?, row.try_get(3)?);
    let columns = DIALECT.columns(table, key.columns.iter().copied(), "");
    let add = match (has_other, was_primary, key.nulls_not_distinct) {
        (true, ..) => String::new(),
        (false, true, _) => format!(", ADD PRIMARY KEY ({columns})"),
        (false, false, true) => format!(", ADD UNIQUE NULLS NOT DISTINCT ({columns})"),
        (false, false, false) => format!(", ADD UNIQUE ({columns})"),
    };
    Ok(Mend::By(format!("ALTER TABLE {} {drops}{add}", DIALECT.table(table))))
}

fn index_behind_view(table: &Table, key: &Key) -> CatalogIndex {
    let columns = key.columns.iter().map(|&column| table.columns[column].name.to_owned());
    CatalogIndex {
        name: String::new(),
        columns: columns.collect(),
        nulls_not_distinct: key.nulls_not_distinct,
        unusable: None,
    }
}

/// Returns the statement that lets a column be NULL, if any.
///
/// Nothing else may keep the column NOT NULL: a primary key, an identity, a domain, a table that it is inherited from.
pub(super) async fn allow_null(
    link: &mut Link<'_, Postgres>,
    table: &Table,
    column: &Column,
) -> Result<Option<String>, sqlx::Error> {
    let ask = format!(
        "SELECT 1 FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid AND y.typtype <> 'd' \
         WHERE a.attrelid = pg_catalog.to_regclass({}) AND a.attname = {} AND a.attnotnull AND a.attidentity = '' \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = a.attrelid AND (i.indisprimary OR i.indisreplident) \
         AND a.attnum = ANY (i.indkey::pg_catalog.int2[])) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits AS n \
         JOIN pg_catalog.pg_attribute AS p ON p.attrelid = n.inhparent AND p.attname = a.attname AND p.attnotnull \
         WHERE n.inhrelid = a.attrelid)",
        table_name(table),
        text(column.name)
    );
    let is_free = !link.fetch(Statement::plain(&ask.into())).await?.is_empty();
    let (table, name) = (DIALECT.table(table), DIALECT.name(column.name));
    Ok(is_free.then(|| format!("ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL")))
}

/// Returns the statement that adds a column, if it is known.
///
/// A column that the database fills in is a number that it counts up; how else it would fill one in is not known here.
pub(super) fn add_column(table: &Table, column: &Column, kind: &PgTypeInfo) -> Option<String> {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let counted = match (column.generated, kind.name()) {
        (false, _) => "",
        (true, "INT2" | "INT4" | "INT8") => " GENERATED BY DEFAULT AS IDENTITY",
        (true, _) => return None,
    };
    let (table, name) = (DIALECT.table(table), DIALECT.name(column.name));
    Some(format!("ALTER TABLE {table} ADD COLUMN {name} {}{null}{counted}", stage_statements::type_name(kind)))
}

/// Reads the columns of a table.
///
/// A domain counts as what is behind it. The columns that the server keeps by itself, such as `tableoid`, are among them.
async fn columns(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<CatalogColumn>, sqlx::Error> {
    let sql = Sql::from(format!(
        "SELECT a.attname::pg_catalog.text, base.kind, NOT (a.attnotnull OR base.required), \
         a.atthasdef OR a.attidentity <> '' OR y.typdefault IS NOT NULL OR a.attnum < 0, \
         a.attgenerated <> '' OR a.attidentity = 'a' OR a.attnum < 0 \
         FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid, LATERAL (\
         WITH RECURSIVE steps (number, kind, limits, required) AS (SELECT 0, a.atttypid, a.atttypmod, false \
         UNION ALL SELECT s.number + 1, d.typbasetype, d.typtypmod, d.typnotnull FROM steps AS s \
         JOIN pg_catalog.pg_type AS d ON d.oid = s.kind AND d.typtype = 'd') \
         SELECT (pg_catalog.array_agg(pg_catalog.format_type(s.kind, s.limits) ORDER BY s.number DESC))[1] AS kind, \
         pg_catalog.bool_or(s.required) AS required FROM steps AS s) AS base \
         WHERE a.attrelid = pg_catalog.to_regclass({}) AND NOT a.attisdropped ORDER BY a.attnum",
        table_name(table)
    ));
    let rows = link.fetch(Statement::plain(&sql)).await?;
    let column = |row: &PgRow| {
        Ok(CatalogColumn {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            nullable: row.try_get(2)?,
            filled: row.try_get(3)?,
            computed: row.try_get(4)?,
            strict: true,
            is_row_id: false,
        })
    };
    rows.iter().map(column).collect()
}

/// Returns SQL for why an index `i` is not usable.
///
/// It says why the server does not take it for a unique index on its columns, or nothing.
fn unusable() -> String {
    let (collation, class) = (key_index::OTHER_COLLATION, key_index::OTHER_CLASS);
    format!(
        "CASE WHEN NOT i.indisvalid THEN 'it is not valid' WHEN i.indpred IS NOT NULL THEN 'it is partial' \
         WHEN i.indisexclusion THEN 'it forbids overlaps, which are more than equal keys' \
         WHEN NOT i.indimmediate THEN 'it is of a deferrable constraint' WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index AS d, \
         LATERAL (SELECT (d.indkey::pg_catalog.int2[])[0:d.indnkeyatts - 1] AS late, (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1] AS own) AS k \
         WHERE d.indrelid = i.indrelid AND d.indisunique AND NOT d.indimmediate AND d.indnkeyatts = i.indnkeyatts \
         AND k.late <@ k.own AND k.late @> k.own) \
         THEN 'there is a deferrable constraint on the same columns' ELSE 'it ' || COALESCE(({collation}), ({class})) END"
    )
}

async fn indexes(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<CatalogIndex>, sqlx::Error> {
    let sql = Sql::from(format!(
        "SELECT c.relname::pg_catalog.text, ARRAY(SELECT COALESCE(a.attname::pg_catalog.text, '') \
         FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, place) \
         LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE k.place <= i.indnkeyatts ORDER BY k.place), \
         COALESCE((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false), {} \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         WHERE i.indrelid = pg_catalog.to_regclass({}) AND i.indisunique ORDER BY c.relname",
        unusable(),
        table_name(table)
    ));
    let rows = link.fetch(Statement::plain(&sql)).await?;
    let index = |row: &PgRow| {
        Ok(CatalogIndex {
            name: row.try_get(0)?,
            columns: row.try_get(1)?,
            nulls_not_distinct: row.try_get(2)?,
            unusable: row.try_get(3)?,
        })
    };
    rows.iter().map(index).collect()
}

/// Returns how a column fits a field of this type.
///
/// The driver reads a column by its own type only, so a type that the server would convert to on the way in is not enough.
pub(super) fn fit(kind: &PgTypeInfo, declared: &str) -> Fit {
    let declared = without_needless_quotes(declared);
    let declared = declared.as_str();
    let (sent, held) = (sql_name(stage_statements::type_name(kind)), without_limits(declared));
    let is_text =
        |name: &str| matches!(name, "text" | "character varying" | "character" | "bpchar" | "name" | "citext");
    let limited = held != declared;
    match (sent.as_str(), held.as_str()) {
        ("jsonb", "json") => Fit::Loses(
            "it is declared json, and the field sends jsonb, which keeps no order of keys and no spaces".to_owned(),
        ),
        ("inet", "cidr") => Fit::Loses("it is declared cidr, which keeps the network of an address only".to_owned()),
        (sent, "character") if is_text(sent) => {
            Fit::Loses(format!("it is declared {declared}, which fills short texts up with spaces"))
        }
        (sent, "character varying") if limited && is_text(sent) => {
            let most: String = declared.chars().filter(char::is_ascii_digit).collect();
            Fit::Loses(format!("it is declared {declared}, which holds no more than {most} characters"))
        }
        (sent, held) if is_text(sent) && is_text(bare_name(held)) => Fit::Holds,
        (_, "numeric") if limited && sent == held => {
            Fit::Loses(format!("it is declared {declared}, which rounds longer numbers"))
        }
        (sent, held) if limited && sent == held && held.contains("time") => {
            Fit::Loses(format!("it is declared {declared}, which rounds finer times"))
        }
        (sent, held) if bare_name(sent) == bare_name(held) => Fit::Holds,
        _ => Fit::Refuses(format!("it is declared {declared}, and the field is one of {sent}")),
    }
}

/// Returns a type's name as the server writes it.
fn sql_name(name: &str) -> String {
    let (element, array) = name.strip_suffix("[]").map_or((name, ""), |element| (element, "[]"));
    let server = match element {
        "BOOL" => "boolean",
        "INT2" => "smallint",
        "INT4" => "integer",
        "INT8" => "bigint",
        "FLOAT4" => "real",
        "FLOAT8" => "double precision",
        "VARCHAR" => "character varying",
        "VARBIT" => "bit varying",
        "TIMESTAMP" => "timestamp without time zone",
        "TIMESTAMPTZ" => "timestamp with time zone",
        "TIME" => "time without time zone",
        "TIMETZ" => "time with time zone",
        "\"char\"" => "\"char\"",
        "pg_catalog.bpchar" => "character",
        // A name in quotes is the user's; one without is folded by the server.
        other if other.contains('"') => return format!("{other}{array}"),
        other => return format!("{}{array}", other.to_lowercase()),
    };
    format!("{server}{array}")
}

/// Removes `(10,2)` and the like from a type's name.
fn without_limits(declared: &str) -> String {
    match (declared.find('('), declared.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &declared[..open], &declared[close + 1..]),
        _ => declared.to_owned(),
    }
}

/// Removes the quotes that `quote_all_identifiers` puts around a name.
///
/// Without its quotes, `"char"` would mean another type.
fn without_needless_quotes(declared: &str) -> String {
    let is_plain = |name: &str| {
        name != "char"
            && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && name.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_'))
    };
    let pieces: Vec<&str> = declared.split('"').collect();
    let mut plain = String::new();
    for (number, piece) in pieces.iter().enumerate() {
        // What stands between two quotes has an odd number.
        if number % 2 == 1 && !is_plain(piece) {
            plain.extend(["\"", piece, "\""]);
        } else {
            plain.push_str(piece);
        }
    }
    plain
}

/// Removes the schema from a type's name.
///
/// It is written or not as the search path is.
fn bare_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
