//! Joins of many staged rows, without good statistics.
//!
//! The server's statistics say nothing of the table, or the wrong thing.

use sqlx::{AssertSqlSafe, Row as _};
use upsertable::{Error, Transaction, Upsertable, testing::statements};
use upsertable_tests::{
    Fixture, OnPostgres,
    models::{NewRetweet, Retweet, retweet},
};

use crate::fixture;

/// Number of rows in the table.
///
/// `AGAIN` of them come again, all of different tweets.
const THERE: i64 = 300_000;
const AGAIN: i64 = 100_000;

fn rows() -> impl Iterator<Item = NewRetweet> {
    (0..AGAIN).map(|number| retweet(number * 2, number))
}

async fn filled(before: &[&str]) -> Fixture<OnPostgres> {
    let db = fixture(1, &["ALTER TABLE retweets SET (autovacuum_enabled = off)"]).await;
    for sql in before {
        db.run(sql).await;
    }
    fill(&db, "retweets").await;
    db
}

async fn fill(db: &Fixture<OnPostgres>, table: &str) {
    db.run(&format!(
        "INSERT INTO {table} (tweet, retweeter, original_author) \
         SELECT n * 2, n, 1 FROM generate_series(0, {}) AS n ORDER BY random()",
        THERE - 1
    ))
    .await;
}

/// Number of index scans in this transaction.
///
/// Of the indexes of the table or of a part of it.
async fn looks(tx: &mut Transaction<sqlx::Postgres>, tables: &str) -> i64 {
    let looks = "SELECT COALESCE(sum(idx_scan), 0)::int8 FROM pg_stat_xact_user_tables \
                 WHERE schemaname = current_schema() AND relname LIKE ";
    let row = sqlx::query(AssertSqlSafe(format!("{looks} '{tables}'"))).fetch_one(&mut **tx).await.unwrap();
    row.get(0)
}

/// Planner settings for joins that are off.
async fn off<'c>(conn: impl sqlx::PgExecutor<'c>) -> Vec<String> {
    let off = "SELECT name FROM pg_settings WHERE name IN ('enable_nestloop', 'enable_hashjoin', 'enable_mergejoin') \
               AND setting = 'off' ORDER BY name";
    sqlx::query_scalar(off).fetch_all(conn).await.unwrap()
}

/// Runs each way to merge and counts the index scans.
///
/// Each way has a transaction of its own.
async fn merges(db: &Fixture<OnPostgres>, tables: &str) -> Vec<i64> {
    let mut seen = Vec::new();
    for way in 0..3 {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        match way {
            0 => assert_eq!(Retweet::bulk_create_new(&mut tx, rows()).await.unwrap().created, 0),
            1 => {
                let found = Retweet::bulk_get_or_create(&mut tx, rows()).await.unwrap();
                assert!(found.len() == rows().count() && found.iter().all(|outcome| !outcome.created));
            }
            _ => {
                let done = Retweet::bulk_upsert(&mut tx, rows()).await.unwrap();
                assert_eq!((done.created, done.updated), (0, AGAIN as u64));
            }
        }
        seen.push(looks(&mut tx, tables).await);
        assert_eq!(off(&mut *tx).await, [""; 0], "what follows in the transaction is planned as ever");
        tx.rollback().await.unwrap();
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_no_look_into_the_index_for_each_of_many_rows() {
    for (state, before) in [("never analysed", &[][..]), ("analysed while empty", &["ANALYZE retweets"])] {
        let db = filled(before).await;
        for looks in merges(&db, "retweets").await {
            assert!(looks < 1_000, "{state}: {looks}");
        }
        // A tenth of them is best looked for.
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        let few = rows().take(AGAIN as usize / 10);
        let (done, seen) = statements(Retweet::bulk_create_new(&mut tx, few)).await;
        assert_eq!(done.unwrap().created, 0);
        assert!(!seen.iter().any(|sql| sql.contains("enable_nestloop")), "{seen:?}");
        tx.rollback().await.unwrap();
    }
}

/// Rows for a far larger table are looked up in key order.
///
/// What is kept is the same.
#[tokio::test(flavor = "multi_thread")]
async fn rows_for_a_far_larger_table_are_looked_for_in_the_order_of_the_key() {
    const FEW: i64 = 20_000;
    let db = filled(&[]).await;
    // Every other key is new, and each comes twice, with another author the second time.
    let mut keys: Vec<i64> = (0..FEW / 2).map(|number| number * 7_919 % (FEW / 2)).collect();
    keys.extend_from_within(..);
    let rows = || {
        keys.iter().enumerate().map(|(position, &number)| NewRetweet {
            original_author: if position < keys.len() / 2 { 2 } else { 3 },
            ..retweet(number, number / 2)
        })
    };
    let new = (FEW / 4) as u64;
    let authors = |author: i64| format!("SELECT count(*) FROM retweets WHERE original_author = {author}");
    for way in 0..3 {
        let (first, second, seen) = match way {
            0 => {
                let (done, seen) = statements(Retweet::bulk_create_new(&db.pool, rows())).await;
                assert_eq!(done.unwrap().created, new);
                (new, 0, seen)
            }
            1 => {
                let (found, seen) = statements(Retweet::bulk_get_or_create(&db.pool, rows())).await;
                let found = found.unwrap();
                let created = found.iter().enumerate().filter(|(_, outcome)| outcome.created);
                let created: Vec<usize> = created.map(|(position, _)| position).collect();
                assert!(created.len() as u64 == new && created.iter().all(|&position| position < keys.len() / 2));
                assert!(found.iter().zip(&keys).all(|(outcome, &tweet)| outcome.row.tweet == tweet));
                (new, 0, seen)
            }
            _ => {
                let (done, seen) = statements(Retweet::bulk_upsert(&db.pool, rows())).await;
                let done = done.unwrap();
                assert_eq!((done.created, done.updated), (new, new));
                (0, 2 * new, seen)
            }
        };
        assert!(seen.iter().any(|sql| sql.contains("ORDER BY s.c0, s.c1, s.n OFFSET 0")), "{seen:?}");
        let kept = [db.number(&authors(2)).await as u64, db.number(&authors(3)).await as u64];
        assert_eq!(kept, [first, second]);
        db.run("DELETE FROM retweets WHERE tweet % 2 = 1").await;
    }
}

/// Few rows for a large table are looked up in its index.
///
/// The planner would read all of a table of which it has statistics, for a fifteenth of its rows.
#[tokio::test(flavor = "multi_thread")]
async fn few_rows_for_a_large_table_are_looked_up_in_its_index() {
    const FEW: i64 = 20_000;
    // From all over the table: of a range of keys a merge join reads that range only.
    let few = || (0..FEW).map(|number| number * (THERE / FEW)).map(|number| retweet(number * 2, number));
    let db = filled(&[]).await;
    db.run("ANALYZE retweets").await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let (done, seen) = statements(Retweet::bulk_create_new(&mut tx, few())).await;
    assert_eq!(done.unwrap().created, 0);
    assert!(looks(&mut tx, "retweets").await >= FEW, "{seen:?}");
    assert_eq!(off(&mut *tx).await, [""; 0]);
    tx.rollback().await.unwrap();
    // The marks of rows are joined as ever: they have no index.
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let found = Retweet::bulk_get_or_create(&mut tx, few()).await.unwrap();
    assert!(found.len() as i64 == FEW && found.iter().all(|outcome| !outcome.created));
    assert!(looks(&mut tx, "retweets").await >= FEW);
    assert_eq!(off(&mut *tx).await, [""; 0]);
    tx.rollback().await.unwrap();
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "names")]
#[unique(name)]
struct Named {
    name: String,
}

/// Nothing is looked up where no index serves.
///
/// The index sorts otherwise than the column compares, so no look can use it: to force looks would read the table for each row.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_looked_up_where_no_index_serves() {
    let db = fixture(
        1,
        &[
            "CREATE TABLE names (name TEXT COLLATE \"C\" NOT NULL) WITH (autovacuum_enabled = off)",
            "CREATE UNIQUE INDEX ON names (name COLLATE \"POSIX\")",
            "INSERT INTO names SELECT 'name ' || n FROM generate_series(1, 600000) AS n",
            "ANALYZE names",
        ],
    )
    .await;
    let rows = (599_000..619_000).map(|number| Named { name: format!("name {number}") });
    let (done, seen) = statements(Named::bulk_create_new(&db.pool, rows)).await;
    assert_eq!(done.unwrap().created, 18_999);
    let at = |what: &str| seen.iter().position(|sql| sql.starts_with(what));
    assert!(at("SET LOCAL").is_some_and(|set| Some(set) < at("SAVEPOINT upsertable_")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_the_parts_of_a_table_are_counted_together() {
    let db = filled(&[
        "DROP TABLE retweets",
        "CREATE TABLE retweets (id BIGSERIAL, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, original_author BIGINT NOT NULL, \
         UNIQUE (tweet, retweeter)) PARTITION BY RANGE (tweet)",
        "CREATE TABLE retweets_low PARTITION OF retweets FOR VALUES FROM (MINVALUE) TO (200000) WITH (autovacuum_enabled = off)",
        "CREATE TABLE retweets_high PARTITION OF retweets FOR VALUES FROM (200000) TO (MAXVALUE) WITH (autovacuum_enabled = off)",
    ])
    .await;
    for looks in merges(&db, "retweets%").await {
        assert!(looks < 1_000, "{looks}");
    }
}

/// A trigger runs under the settings of the session.
///
/// Its statements would be planned without nested loops too, and the session would keep those plans.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_runs_under_the_settings_of_the_session() {
    let db = filled(&[
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF current_setting('enable_nestloop') <> 'on' THEN RAISE EXCEPTION 'planned otherwise'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER note BEFORE INSERT OR UPDATE ON retweets FOR EACH ROW EXECUTE FUNCTION note()",
    ])
    .await;
    let new = || rows().chain([retweet(-1, -1)]);
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&mut tx, new()).await.unwrap().created, 1);
    tx.rollback().await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&db.pool, new()).await.unwrap().created, 1);
    assert_eq!(Retweet::bulk_upsert(&db.pool, rows()).await.unwrap().updated, AGAIN as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_leaves_the_session_as_it_was() {
    let db = filled(&["ALTER TABLE retweets ADD CONSTRAINT small CHECK (original_author < 1000000000)"]).await;
    assert_eq!(Retweet::bulk_create_new(&db.pool, rows()).await.unwrap().created, 0);
    assert_eq!(off(&db.pool).await, [""; 0]);

    let fails = || rows().chain([NewRetweet { original_author: 1_000_000_000, ..retweet(-1, -1) }]);
    let error = Retweet::bulk_create_new(&db.pool, fails()).await.unwrap_err();
    assert!(matches!(error, Error::Sql(_)), "{error:?}");
    assert_eq!(off(&db.pool).await, [""; 0]);
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::bulk_create_new(&mut tx, fails()).await.unwrap_err();
    assert_eq!(off(&mut *tx).await, [""; 0]);
    tx.rollback().await.unwrap();

    sqlx::query("SET enable_nestloop = off").execute(&db.pool).await.unwrap();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&mut tx, rows()).await.unwrap().created, 0);
    assert_eq!(off(&mut *tx).await, ["enable_nestloop"]);
    tx.commit().await.unwrap();
    assert_eq!(off(&db.pool).await, ["enable_nestloop"]);
}
