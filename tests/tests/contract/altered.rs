//! A table that changes under open connections.
//!
//! A call on a pool goes on as if it had been so all along.

use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::Pool;
use upsertable::{Error, Outcome, Transaction, Upsertable};

use super::{Db, Fixture};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "tunes")]
#[unique(slug)]
struct Tune {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
    plays: i64,
}

const TABLE: &str = "CREATE TABLE tunes (id {id}, slug VARCHAR(40) NOT NULL, title VARCHAR(40) NOT NULL, plays BIGINT NOT NULL, \
                     UNIQUE (slug))";

/// Consecutive changes of the table that the model still fits.
fn changes(db: &Fixture) -> &'static [&'static [&'static str]] {
    match db.server.name {
        "PostgreSQL" => &[
            &["ALTER TABLE tunes ALTER COLUMN title TYPE VARCHAR(80)"],
            &["ALTER TABLE tunes ALTER COLUMN slug TYPE TEXT"],
            &["ALTER TABLE tunes ALTER COLUMN title TYPE TEXT, ALTER COLUMN slug TYPE VARCHAR(90)"],
            &["ALTER TABLE tunes ADD COLUMN more INTEGER DEFAULT 1", "ALTER TABLE tunes ALTER COLUMN more TYPE BIGINT"],
            &["ALTER TABLE tunes DROP COLUMN more"],
            &["ALTER TABLE tunes RENAME title TO name", "ALTER TABLE tunes RENAME name TO title"],
            &[
                "CREATE TABLE tunes_new (LIKE tunes INCLUDING ALL)",
                "INSERT INTO tunes_new SELECT * FROM tunes",
                "ALTER SEQUENCE tunes_new_id_seq RESTART WITH 1000000",
                "DROP TABLE tunes",
                "ALTER TABLE tunes_new RENAME TO tunes",
                "ALTER TABLE tunes ALTER COLUMN title TYPE VARCHAR(99)",
            ],
        ],
        // It keeps prepared what any client has, so where a type changes it has to be told: see the README's limits.
        "PgBouncer" => &[
            &["ALTER TABLE tunes ADD COLUMN more INTEGER DEFAULT 1", "ALTER TABLE tunes ALTER COLUMN more TYPE BIGINT"],
            &["ALTER TABLE tunes DROP COLUMN more"],
            &["ALTER TABLE tunes RENAME title TO name", "ALTER TABLE tunes RENAME name TO title"],
        ],
        "SQLite" => &[
            &["ALTER TABLE tunes ADD COLUMN more INTEGER DEFAULT 1"],
            // In one piece: a connection that has not run anything since does not know of the column.
            &["UPDATE tunes SET more = 2; ALTER TABLE tunes DROP COLUMN more"],
            &["ALTER TABLE tunes RENAME title TO name; ALTER TABLE tunes RENAME name TO title"],
            &["CREATE TABLE tunes_new (plays INTEGER NOT NULL, title TEXT NOT NULL, slug TEXT NOT NULL UNIQUE, \
                 id INTEGER PRIMARY KEY AUTOINCREMENT); \
               INSERT INTO tunes_new (id, slug, title, plays) SELECT id, slug, title, plays FROM tunes; \
               DROP TABLE tunes; ALTER TABLE tunes_new RENAME TO tunes"],
        ],
        _ => &[
            &["ALTER TABLE tunes MODIFY title VARCHAR(80) NOT NULL"],
            &["ALTER TABLE tunes MODIFY slug VARCHAR(300) NOT NULL"],
            &["ALTER TABLE tunes MODIFY title TEXT NOT NULL, MODIFY plays BIGINT NOT NULL FIRST"],
            &["ALTER TABLE tunes ADD COLUMN more INTEGER DEFAULT 1"],
            &["ALTER TABLE tunes DROP COLUMN more"],
            &[
                "ALTER TABLE tunes CHANGE title name VARCHAR(80) NOT NULL",
                "ALTER TABLE tunes CHANGE name title TEXT NOT NULL",
            ],
            &[
                "CREATE TABLE tunes_new LIKE tunes",
                "INSERT INTO tunes_new SELECT * FROM tunes",
                "DROP TABLE tunes",
                "ALTER TABLE tunes_new RENAME TO tunes",
            ],
        ],
    }
}

/// A round, whose rows no earlier round has made.
struct Round(&'static str, i64);

impl Round {
    fn next(call: &'static str) -> Self {
        static ROUNDS: AtomicI64 = AtomicI64::new(1);
        Self(call, ROUNDS.fetch_add(1, Ordering::Relaxed))
    }

    fn tune(&self, number: i64) -> NewTune {
        NewTune { slug: format!("{} {} {number}", self.0, self.1), title: "title".into(), plays: number }
    }

    fn tunes(&self, count: i64) -> Vec<NewTune> {
        (0..count).map(|number| self.tune(number)).collect()
    }

    fn key(&self, number: i64) -> TuneKey {
        TuneKey { slug: self.tune(number).slug }
    }
}

const CALLS: &[&str] = &[
    "find",
    "find_all",
    "get_or_create",
    "get_or_create_with",
    "upsert",
    "bulk_create_new",
    "bulk_get_or_create",
    "bulk_upsert",
    "batches",
    "transaction",
    "verify",
];

/// Makes the call so that each of its statements runs.
///
/// Some are for a row that is there, and some for one that is not.
async fn call(pool: &Pool<Db>, name: &'static str) -> Result<(), Error> {
    let round = Round::next(name);
    match name {
        "find" => {
            assert_eq!(Tune::find(pool, there_key(1)).await?, Some(found(1)));
            assert_eq!(Tune::find(pool, round.key(1)).await?, None);
        }
        "find_all" => {
            let keys = [there_key(1), round.key(1), there_key(2)];
            assert_eq!(Tune::find_all(pool, keys).await?, [Some(found(1)), None, Some(found(2))]);
        }
        "get_or_create" => {
            let Outcome { row, created } = Tune::get_or_create(pool, round.tune(1)).await?;
            assert!(created && row.plays == 1);
            assert_eq!(Tune::get_or_create(pool, round.tune(1)).await?, Outcome { row, created: false });
        }
        "get_or_create_with" => {
            let make = async || Ok::<_, Error>(round.tune(1));
            let Outcome { row, created } = Tune::get_or_create_with(pool, round.key(1), make).await?;
            assert!(created && row.plays == 1);
            assert_eq!(Tune::get_or_create_with(pool, round.key(1), make).await?, Outcome { row, created: false });
        }
        "upsert" => {
            assert!(Tune::upsert(pool, round.tune(1)).await?.created);
            let Outcome { row, created } = Tune::upsert(pool, NewTune { plays: 7, ..round.tune(1) }).await?;
            assert_eq!((row.plays, created), (7, false));
        }
        "bulk_create_new" => {
            for count in [1, 3, 40] {
                let round = Round::next(name);
                assert_eq!(Tune::bulk_create_new(pool, round.tunes(count)).await?.created, count as u64);
                assert_eq!(Tune::bulk_create_new(pool, round.tunes(count)).await?.created, 0);
            }
        }
        "bulk_get_or_create" => {
            for created in [true, false] {
                let rows = Tune::bulk_get_or_create(pool, round.tunes(3)).await?;
                assert!(rows.iter().all(|row| row.created == created));
            }
        }
        "bulk_upsert" => {
            assert_eq!(Tune::bulk_upsert(pool, round.tunes(3)).await?.created, 3);
            assert_eq!(Tune::bulk_upsert(pool, round.tunes(3)).await?.updated, 3);
        }
        "batches" => {
            Tune::bulk_create_new(pool, round.tunes(3)).await?;
            let mine = format!("{name} {} %", round.1);
            let work = async |tx: &mut Transaction<Db>, tune: Tune| {
                Tune::upsert(tx, NewTune { plays: tune.plays + 1, ..round.tune(tune.plays) }).await.map(drop)
            };
            let report = Tune::batches(pool).filter("slug LIKE ?").bind(mine).size(2).run(work).await?;
            if let Some((key, error)) = report.failures.first() {
                return Err(sqlx::Error::Protocol(format!("{key:?}: {error}")).into());
            }
            assert_eq!((report.done, report.failed), (3, 0));
        }
        "transaction" => {
            let row = upsertable::transaction(pool, async |tx| {
                Tune::find(&mut *tx, there_key(1)).await?;
                Tune::get_or_create(tx, round.tune(1)).await
            });
            assert!(row.await?.created);
        }
        _ => drop(Tune::verify(pool).await?),
    }
    Ok(())
}

fn there_key(number: i64) -> TuneKey {
    Round("there", 0).key(number)
}

fn found(number: i64) -> Tune {
    let NewTune { slug, title, plays } = Round("there", 0).tune(number);
    Tune { id: number + 1, slug, title, plays }
}

/// Makes the table as it was, with a new pool.
async fn anew(db: &Fixture, connections: u32) -> Pool<Db> {
    db.run("DROP TABLE IF EXISTS tunes").await;
    db.run(TABLE).await;
    for tune in Round("there", 0).tunes(3) {
        assert!(Tune::get_or_create(&db.outside, tune).await.unwrap().created);
    }
    db.another_pool(connections).await
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_each_call_on_a_pool_goes_on_when_the_table_has_changed() {
    let db = Fixture::with_connections(1).await;
    let mut failed = Vec::new();
    for name in CALLS {
        let pool = anew(&db, 1).await;
        call(&pool, name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        for change in changes(&db) {
            for step in *change {
                db.run(step).await;
            }
            if let Err(error) = call(&pool, name).await {
                failed.push(format!("{name} after {change:?}: {error}"));
            }
        }
        pool.close().await;
    }
    assert_eq!(failed, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_each_call_goes_on_when_the_table_has_changed_under_more_connections_than_a_call_has_tries() {
    const CONNECTIONS: u32 = 12;
    let db = Fixture::with_connections(1).await;
    for name in ["find", "find_all", "get_or_create", "upsert", "batches", "transaction"] {
        let pool = anew(&db, CONNECTIONS).await;
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            all.push(pool.acquire().await.unwrap());
        }
        // Only one is free at a time, so each comes to know the table as it is.
        for _ in 0..CONNECTIONS {
            drop(all.remove(0));
            call(&pool, name).await.unwrap();
            all.push(pool.acquire().await.unwrap());
        }
        drop(all);
        for step in changes(&db)[0] {
            db.run(step).await;
        }
        for _ in 0..CONNECTIONS {
            call(&pool, name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        pool.close().await;
    }
}
