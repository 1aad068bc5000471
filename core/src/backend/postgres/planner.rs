//! The join of the staged rows with the table.
//!
//! What the planner does not know is told to it for the time of a statement.
//!
//! * Of a key of several columns it believes that a hash over it has few different values, each column being looked at by itself (the
//!   function `estimate_hash_bucket_stats` of PostgreSQL's `selfuncs.c`; without statistics it takes a tenth of the rows to be in one
//!   bucket). So it may take a look into the index for each row for the shorter way however many they are.
//! * It does not count that looks in the order of the key find their page in the caches. So it may read a whole table for few rows.

use sqlx::{Postgres, Row as _};

use crate::{
    backend::postgres::dialect::{DIALECT, StagingPlan, table_name},
    backend::postgres::stage_state::{JoinStrategy, Sizes},
    backend::postgres::stage_statements,
    connection::link::Link,
    sql::statement::Statement,
    sql::text::Sql,
};

/// Staged rows below which the planner decides alone.
///
/// An exception is a table that it takes to be empty.
const ASKED_ROWS: u64 = 20_000;

/// Staged rows below which looks are quick enough.
///
/// That holds also in a table that is not far larger.
const HASHED_ROWS: u64 = 100_000;

/// Marked rows that are joined quickly enough in any way.
pub(super) const FEW_MARKED: u64 = 100;

/// Rows a page below which statistics are taken for wrong.
///
/// A table with fewer is one of which the server knows too few rows: a row that is not kept elsewhere takes a quarter of a page at most. It
/// happens where ANALYZE came by while the table was filled, and then the planner may read the staged rows for each of the table's.
const LEAST_DENSITY: &str = "0.5";

/// Largest size of a target read whole, in staging-table sizes.
///
/// Up to so many times the size of the staging table the whole target is read faster than looked into for each row. 1,000,000 rows that are
/// all there, in seconds by looks and by a hash: 3.5 and 0.8 in a table of 1,000,000 rows, 4.5 and 1.5 of 5,000,000, 4.2 and 2.5 of
/// 10,000,000.
///
/// From there on looks in the order of the key are faster. Rows into a table of 2,000,000 with statistics, in milliseconds by what the
/// planner chooses, a hash, and by looks in order: 550 and 57 for 20,000 new rows, 500 and 190 for 50,000 that are there, 640 and 530 for
/// 190,000 that are there. Beside looks in any order: 650 and 490 for 100,000 new rows in a table of 10,000,000, 560 and 370 for as many
/// that are there.
const TIMES_LARGER: u64 = 10;

/// Most that looks may cost, in costs of the planner's choice.
///
/// Looks in order cost a half of what the planner takes them for, or less: 1.4 to 1.8 times its own choice where they took 0.1 to 0.8 of
/// the time. Where they cost more than that, there is no index that serves, the table is so large that they would read from the disk, or
/// the keys are of a short range that another way reads alone.
const TIMES_DEARER: f64 = 2.0;

/// The tables that a statement joins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The staged rows and the table, and nothing else.
    Rows,
    /// Their marks too, for which there is no index.
    ///
    /// Without a hash each would be compared with each.
    Marks,
}

/// The settings that were turned off for a statement.
pub(super) struct JoinSettings {
    off: Vec<String>,
}

impl JoinSettings {
    /// Chooses the settings by the sizes of both tables.
    pub(super) async fn choose(
        link: &mut Link<'_, Postgres>,
        stage: &StagingPlan,
        of: Of,
    ) -> Result<Self, sqlx::Error> {
        let sizes = if let Some(sizes) = stage.notes.sizes.get() {
            *sizes
        } else {
            let sizes = Sizes::ask(link, stage).await?;
            *stage.notes.sizes.get_or_init(|| sizes)
        };
        if sizes.is_misjudged && sizes.may_change {
            return Self::turn_off(link, JoinStrategy::ByHash).await;
        }
        if of == Of::Rows && stage.rows() < ASKED_ROWS {
            return Ok(Self { off: Vec::new() });
        }
        if of == Of::Rows {
            stage.notes.note(if sizes.far_larger { JoinStrategy::ByKey } else { JoinStrategy::AsPlanned });
        }
        if sizes.far_larger && of == Of::Rows && sizes.may_change {
            let natural = cost(link, stage).await?;
            let joins = Self::turn_off(link, JoinStrategy::ByLooks).await?;
            let looks = cost(link, stage).await?;
            if natural.zip(looks).is_some_and(|(natural, looks)| looks <= TIMES_DEARER * natural) {
                stage.notes.note(JoinStrategy::ByLooks);
                return Ok(joins);
            }
            joins.restore(link).await?;
        } else if sizes.similar && stage.rows() >= HASHED_ROWS && sizes.may_change {
            stage.notes.note(JoinStrategy::ByHash);
            return Self::turn_off(link, JoinStrategy::ByHash).await;
        } else if of == Of::Marks && sizes.similar && stage.rows() > FEW_MARKED && sizes.may_change {
            return Self::turn_off(link, JoinStrategy::ByHash).await;
        }
        Ok(Self { off: Vec::new() })
    }

    async fn turn_off(link: &mut Link<'_, Postgres>, joined: JoinStrategy) -> Result<Self, sqlx::Error> {
        let rows = link.fetch(Statement::plain(&turn_off(joined))).await?;
        Ok(Self { off: rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()? })
    }

    /// Turns the settings on again.
    ///
    /// After a rollback to a savepoint that was set in between it is needed again. Of what is rolled back as a whole, the settings are too.
    pub(super) async fn restore(&self, link: &mut Link<'_, Postgres>) -> Result<(), sqlx::Error> {
        if !self.off.is_empty() {
            let on: Vec<String> =
                self.off.iter().map(|name| format!("SET LOCAL {} = on", DIALECT.name(name))).collect();
            link.execute(Statement::plain(&on.join("; ").into())).await?;
        }
        Ok(())
    }
}

/// Returns the settings that would let the planner join otherwise.
fn unwanted(joined: JoinStrategy) -> &'static [&'static str] {
    match joined {
        JoinStrategy::AsPlanned | JoinStrategy::ByKey => &[],
        JoinStrategy::ByHash => &["enable_nestloop"],
        JoinStrategy::ByLooks => &["enable_hashjoin", "enable_mergejoin"],
    }
}

/// Turns the planner's unwanted settings off for this transaction.
///
/// Only those that are on are turned off. It gives a row for each, with what was done and its name.
fn turn_off(joined: JoinStrategy) -> Sql {
    let names: Vec<String> = unwanted(joined).iter().map(|name| format!("('{name}')")).collect();
    format!(
        "SELECT w.name || ': ' || pg_catalog.set_config(w.name, 'off', true), w.name FROM (VALUES {}) AS w (name) \
         WHERE pg_catalog.current_setting(w.name) = 'on'",
        names.join(", ")
    )
    .into()
}

/// Returns the statement that explains the merge as of now.
pub(super) fn explain(stage: &StagingPlan) -> Sql {
    let explain = format!("EXPLAIN {}", stage_statements::insert_new(stage));
    match stage.notes.joined() {
        JoinStrategy::AsPlanned | JoinStrategy::ByKey => explain.into(),
        // Outside a transaction statements that are sent together are one.
        joined => format!("{}; {explain}", turn_off(joined).as_str()).into(),
    }
}

/// Reads the planner's cost of the merge, where it tells.
async fn cost(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<Option<f64>, sqlx::Error> {
    let plan = format!("EXPLAIN {}", stage_statements::insert_new(stage));
    let rows = link.fetch(Statement::plain(&plan.into())).await?;
    rows.first().map_or(Ok(None), |row| row.try_get(0).map(read_cost))
}

/// Reads the total cost from a plan's first line.
///
/// It is the number behind the dots of `Insert on songs  (cost=0.43..437874.85 rows=0 width=0)`.
fn read_cost(line: &str) -> Option<f64> {
    let (_, behind) = line.split_once("(cost=")?;
    let (_, whole) = behind.split_once("..")?;
    whole.split(' ').next()?.parse().ok()
}

impl Sizes {
    /// Asks the server for the sizes.
    ///
    /// Of a table whose rows are stored elsewhere it is neither similar nor far larger.
    async fn ask(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<Self, sqlx::Error> {
        let ask = format!(
            "WITH RECURSIVE parts (part) AS (SELECT {}::pg_catalog.regclass::pg_catalog.oid \
             UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN parts ON i.inhparent = parts.part), \
             size (target, staged) AS (SELECT sum(pg_catalog.pg_relation_size(part)), \
             {TIMES_LARGER} * pg_catalog.pg_relation_size('{}'::pg_catalog.regclass) FROM parts) \
             SELECT target BETWEEN 1 AND staged, target > staged, EXISTS (\
             SELECT 1 FROM pg_catalog.pg_class AS c JOIN parts ON c.oid = parts.part \
             WHERE c.relpages > 0 AND c.reltuples < {LEAST_DENSITY} * c.relpages AND c.reltuples >= 0), NOT EXISTS (\
             SELECT 1 FROM pg_catalog.pg_class AS c JOIN parts ON c.oid = parts.part WHERE c.relrowsecurity OR c.relhasrules \
             OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)) FROM size",
            table_name(stage.table),
            stage.notes.name,
        );
        let rows = link.fetch(Statement::plain(&ask.into())).await?;
        let is = |column: usize| {
            rows.first()
                .map_or(Ok(None), |row| row.try_get(column))
                .map(|known: Option<bool>| known.unwrap_or_default())
        };
        Ok(Self { similar: is(0)?, far_larger: is(1)?, is_misjudged: is(2)?, may_change: is(3)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_plan_is_read() {
        assert_eq!(read_cost("Insert on \"r\"  (cost=0.43..437874.85 rows=0 width=0)"), Some(437_874.85));
        assert_eq!(read_cost("  ->  Hash  (cost=1.00..2 rows=0 width=0)"), Some(2.0));
        assert_eq!(read_cost("JIT:"), None);
        assert_eq!(read_cost("(cost=0.43..x rows=0 width=0)"), None);
    }
}
