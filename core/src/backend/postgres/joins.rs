//! How the planner joins many staged rows with the table.
//!
//! Of a key of several columns it believes that a hash over it has few different values, each column being looked at by itself (the function
//! `estimate_hash_bucket_stats` of PostgreSQL's `selfuncs.c`; where there are no statistics a tenth of the rows are taken to be in one bucket).
//! So it takes a look into the index for each row for the shorter way however many they are.

use std::sync::atomic::Ordering;

use sqlx::{Postgres, Row as _};

use super::{Stage, index, stage};
use crate::{
    handle::Link,
    sql::{Sql, Statement},
};

/// Fewer rows are left to the planner: whichever way it takes costs little.
const HASHED_ROWS: u64 = 100_000;

/// Fewer rows are looked for as they come: to ask costs a round trip.
const ASKED_ROWS: u64 = 20_000;

/// Up to so many times the size of the staging table the whole target is read faster than looked into for each row. 1,000,000 rows that are all
/// there, in seconds by looks and by a hash: 3.5 and 0.8 in a table of 1,000,000 rows, 4.5 and 1.5 of 5,000,000, 4.2 and 2.5 of 10,000,000.
///
/// From there on the looks are made in the key's order, so that each finds in the caches what the one before has read. Milliseconds of a merge
/// into a table of 10,000,000 rows of numbers: 650 as they come and 490 in order for 100,000 new rows, 250 and 190 for 30,000; 560 and 370 for
/// 100,000 that are there, 150 and 120 for 30,000. Keys of text gain less, or nothing.
const TIMES_LARGER: u64 = 10;

/// What was changed for a merge, to be put back.
pub(super) struct Joins {
    changed: bool,
}

impl Joins {
    /// Turns nested loops off where they are sure to be slow, and elsewhere finds out in which order to look.
    pub(super) async fn choose(link: &mut Link<'_, Postgres>, stage: &Stage) -> Result<Self, sqlx::Error> {
        let Some(choice) = choice(stage) else { return Ok(Self { changed: false }) };
        let rows = link.fetch(Statement::plain(&choice)).await?;
        let Some(row) = rows.first() else { return Ok(Self { changed: false }) };
        stage.by_key.store(row.try_get(1)?, Ordering::Relaxed);
        let changed: Option<String> = row.try_get(0)?;
        // A transaction of the call's own takes the setting with it.
        Ok(Self { changed: changed.is_some() && !matches!(link, Link::Pooled(..)) })
    }

    /// Not after a failure: what is rolled back takes the setting with it.
    pub(super) async fn restore(self, link: &mut Link<'_, Postgres>) -> Result<(), sqlx::Error> {
        if self.changed {
            link.execute(Statement::plain(&"SET LOCAL enable_nestloop = on".into())).await?;
        }
        Ok(())
    }
}

/// Tells what it changed, until the end of the transaction, and whether the table is far larger than what is staged. Triggers would run under
/// that setting, and keep the plans of their statements, so where there are any it changes nothing; nor where the table's rows are stored
/// elsewhere.
pub(super) fn choice(stage: &Stage) -> Option<Sql> {
    let target = format!(
        "WITH RECURSIVE parts (part) AS (SELECT {}::pg_catalog.regclass::pg_catalog.oid \
         UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN parts ON i.inhparent = parts.part), \
         size (target, staged) AS (SELECT sum(pg_catalog.pg_relation_size(part)), pg_catalog.pg_relation_size('{}'::pg_catalog.regclass) FROM parts)",
        index::table_name(stage.table),
        stage::STAGE,
    );
    let hashed = if stage.rows() >= HASHED_ROWS {
        format!(
            "CASE WHEN pg_catalog.current_setting('enable_nestloop') = 'on' AND target BETWEEN 1 AND {TIMES_LARGER} * staged \
             AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS g JOIN parts ON g.tgrelid = parts.part WHERE NOT g.tgisinternal) \
             THEN 'enable_nestloop: ' || pg_catalog.set_config('enable_nestloop', 'off', true) END"
        )
    } else {
        "NULL::pg_catalog.text".to_owned()
    };
    let asked = stage.rows() >= ASKED_ROWS;
    asked.then(|| {
        format!("{target} SELECT {hashed}, COALESCE(target > {TIMES_LARGER} * staged, false) FROM size").into()
    })
}
