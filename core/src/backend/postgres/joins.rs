//! How the planner joins many staged rows with the table.
//!
//! Of a key of several columns it believes that a hash over it has few different values, each column being looked at by itself (the function
//! `estimate_hash_bucket_stats` of PostgreSQL's `selfuncs.c`; where there are no statistics a tenth of the rows are taken to be in one bucket).
//! So it takes a look into the index for each row for the shorter way however many they are.

use sqlx::Postgres;

use super::{Stage, index, stage};
use crate::{
    handle::Link,
    sql::{Sql, Statement},
};

/// Fewer rows are left to the planner: whichever way it takes costs little.
const MANY_ROWS: u64 = 100_000;

/// Up to so many times the size of the staging table the whole target is read faster than looked into for each row. 1,000,000 rows that are all
/// there, in seconds by looks and by a hash: 3.5 and 0.8 in a table of 1,000,000 rows, 4.5 and 1.5 of 5,000,000, 4.2 and 2.5 of 10,000,000.
const TIMES_LARGER: u64 = 10;

/// What was changed for a merge, to be put back.
pub(super) struct Joins {
    changed: bool,
}

impl Joins {
    /// Turns nested loops off where they are sure to be slow.
    pub(super) async fn choose(link: &mut Link<'_, Postgres>, stage: &Stage) -> Result<Self, sqlx::Error> {
        let Some(choice) = choice(stage) else { return Ok(Self { changed: false }) };
        let changed = !link.fetch(Statement::plain(&choice)).await?.is_empty();
        // A transaction of the call's own takes the setting with it.
        Ok(Self { changed: changed && !matches!(link, Link::Pooled(..)) })
    }

    /// Not after a failure: what is rolled back takes the setting with it.
    pub(super) async fn restore(self, link: &mut Link<'_, Postgres>) -> Result<(), sqlx::Error> {
        if self.changed {
            link.execute(Statement::plain(&"SET LOCAL enable_nestloop = on".into())).await?;
        }
        Ok(())
    }
}

/// Gives a row where it changes the setting, until the end of the transaction. Triggers would run under it, and keep the plans of their
/// statements, so where there are any it does nothing; nor where the table's rows are stored elsewhere.
pub(super) fn choice(stage: &Stage) -> Option<Sql> {
    let parts = format!(
        "WITH RECURSIVE parts (part) AS (SELECT {}::pg_catalog.regclass::pg_catalog.oid \
         UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN parts ON i.inhparent = parts.part)",
        index::table_name(stage.table),
    );
    (stage.rows() >= MANY_ROWS).then(|| {
        format!(
            "{parts} SELECT 'enable_nestloop: ' || pg_catalog.set_config('enable_nestloop', 'off', true) \
             FROM (SELECT sum(pg_catalog.pg_relation_size(part)) AS size FROM parts) AS target \
             WHERE pg_catalog.current_setting('enable_nestloop') = 'on' \
             AND target.size BETWEEN 1 AND {TIMES_LARGER} * pg_catalog.pg_relation_size('{}'::pg_catalog.regclass) \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g JOIN parts ON g.tgrelid = parts.part WHERE NOT g.tgisinternal)",
            stage::STAGE,
        )
        .into()
    })
}
