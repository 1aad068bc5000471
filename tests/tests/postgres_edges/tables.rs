//! Kinds of tables and indexes.

use sqlx::{AssertSqlSafe, Connection as _};
use upsertable::{BulkCreated, Error, Outcome, Upsertable, testing::statements};
use upsertable_tests::models::{Loose, Retweet, loose, retweet};

use crate::{MANY, fixture};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "Odd \"table\"", schema = "odd.schema")]
#[unique(scope, name, nulls_not_distinct)]
struct Odd {
    #[upsertable(generated)]
    id: i64,
    scope: Option<i32>,
    #[sqlx(rename = "the \"name\"")]
    name: String,
    value: i64,
}

fn odd(scope: Option<i32>, name: &str, value: i64) -> NewOdd {
    NewOdd { scope, name: name.into(), value }
}

/// NULL matches NULL where the index says so.
///
/// For every kind of key, in every call.
#[tokio::test(flavor = "multi_thread")]
async fn r5_null_matches_null_where_the_index_says_so() {
    let db = fixture(2, &["DROP SCHEMA IF EXISTS \"odd.schema\" CASCADE", "CREATE SCHEMA \"odd.schema\""]).await;
    db.run(
        "CREATE TABLE \"odd.schema\".\"Odd \"\"table\"\"\" (id BIGSERIAL PRIMARY KEY, scope INT, \"the \"\"name\"\"\" TEXT NOT NULL, value BIGINT NOT NULL)",
    )
    .await;
    // An index that takes NULLs for different is not enough.
    db.run("CREATE UNIQUE INDEX loose_index ON \"odd.schema\".\"Odd \"\"table\"\"\" (scope, \"the \"\"name\"\"\")")
        .await;
    let missing = [
        Odd::get_or_create(&db.pool, odd(None, "a", 1)).await.map(drop),
        Odd::upsert(&db.pool, odd(None, "a", 1)).await.map(drop),
        Odd::bulk_create_new(&db.pool, [odd(None, "a", 1)]).await.map(drop),
        Odd::bulk_get_or_create(&db.pool, [odd(None, "a", 1)]).await.map(drop),
        Odd::bulk_upsert(&db.pool, [odd(None, "a", 1)]).await.map(drop),
    ];
    let mut fix = None;
    for error in missing {
        let Err(Error::MissingUniqueIndex { create, .. }) = error else { panic!("{error:?}") };
        fix = Some(create);
    }
    assert!(matches!(Odd::verify(&db.pool).await, Err(Error::Schema { .. })));
    db.run(&fix.unwrap()).await;
    Odd::verify(&db.pool).await.unwrap();

    let made = Odd::get_or_create(&db.pool, odd(None, "a", 1)).await.unwrap();
    assert!(made.created);
    for scope in [None, Some(1)] {
        for created in [scope.is_some(), false] {
            let outcome = Odd::get_or_create(&db.pool, odd(scope, "a", 2)).await.unwrap();
            assert_eq!((outcome.created, outcome.row.scope), (created, scope));
        }
    }
    let key = |scope, name: &str| OddKey { scope, name: name.into() };
    assert_eq!(Odd::find(&db.pool, key(None, "a")).await.unwrap(), Some(made.row.clone()));
    assert_eq!(Odd::upsert(&db.pool, odd(None, "a", 5)).await.unwrap().row, Odd { value: 5, ..made.row });
    let found = Odd::find_all(&db.pool, [key(None, "b"), key(None, "a"), key(Some(1), "a")]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.as_ref().map(|row| row.value)).collect::<Vec<_>>(), [None, Some(5), Some(2)]);

    let batch = || [odd(None, "a", 6), odd(None, "b", 7), odd(Some(1), "a", 8), odd(None, "b", 9)];
    assert_eq!(Odd::bulk_create_new(&db.pool, batch()).await.unwrap().created, 1);
    let all = Odd::bulk_get_or_create(&db.pool, batch()).await.unwrap();
    assert_eq!(all.iter().map(|row| row.row.value).collect::<Vec<_>>(), [5, 7, 2, 7]);
    let done = Odd::bulk_upsert(&db.pool, batch()).await.unwrap();
    assert_eq!((done.created, done.updated), (0, 3));
    assert_eq!(db.numbers("SELECT value FROM \"odd.schema\".\"Odd \"\"table\"\"\" ORDER BY 1").await, [6, 8, 9]);

    let many = || (0..MANY).map(|number| odd((number % 2 == 0).then_some(7), &(number / 4).to_string(), number));
    assert_eq!(Odd::bulk_create_new(&db.pool, many()).await.unwrap().created, MANY as u64 / 2);
    assert_eq!(Odd::bulk_create_new(&db.pool, many()).await.unwrap().created, 0);
    db.run("DROP SCHEMA \"odd.schema\" CASCADE").await;
}

/// A row whose key can be NULL alone.
///
/// The key must not read the table once for each staged row.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[unique(a, b, nulls_not_distinct)]
#[upsertable(table = "maybes")]
struct Maybe {
    a: Option<i64>,
    b: Option<i64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_keys_that_can_be_null_all_over() {
    const ROWS: i64 = 40_000;
    let db = fixture(1, &["CREATE TABLE maybes (a BIGINT, b BIGINT, UNIQUE NULLS NOT DISTINCT (a, b))"]).await;
    let rows = || {
        (0..ROWS).map(|number| match number % 3 {
            0 => Maybe { a: Some(number), b: Some(number) },
            1 => Maybe { a: None, b: Some(number) },
            _ => Maybe { a: Some(number), b: None },
        })
    };
    let both = || rows().chain([Maybe { a: None, b: None }, Maybe { a: None, b: None }]);
    for expected in [ROWS as u64 + 1, 0] {
        let (done, seen) = statements(Maybe::bulk_create_new(&db.pool, both())).await;
        assert_eq!(done.unwrap().created, expected);
        let merge = seen.iter().find(|sql| sql.starts_with("SAVEPOINT upsertable")).unwrap();
        let merge = merge.split("; ").filter(|sql| sql.starts_with("INSERT")).last().unwrap();
        let stage = merge.split("pg_temp.").nth(1).and_then(|name| name.split(' ').next()).unwrap();
        let mut tx = db.pool.begin().await.unwrap();
        let stage = format!(
            "CREATE TEMP TABLE {stage} ON COMMIT DROP AS \
             SELECT n, NULL::int2 AS w, n AS c0, NULLIF(n, n) AS c1 FROM generate_series(1::int8, 40000) AS n"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(stage)).execute(&mut *tx).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {merge}"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *tx).await.unwrap();
        assert!(!plan.iter().any(|step| step.contains("Nested Loop")), "{}", plan.join("\n"));
        tx.rollback().await.unwrap();
    }
    let all = Maybe::bulk_get_or_create(&db.pool, both()).await.unwrap();
    assert!(all.iter().zip(both()).all(|(outcome, row)| *outcome == Outcome { row, created: false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_an_index_that_is_checked_late_does_not_count() {
    let db = fixture(2, &[]).await;
    let rows = || [loose(1, 1)];
    for (number, constraint) in
        ["DEFERRABLE INITIALLY IMMEDIATE", "DEFERRABLE INITIALLY DEFERRED"].into_iter().enumerate()
    {
        db.run(&format!("ALTER TABLE loose ADD CONSTRAINT late{number} UNIQUE (a, b) {constraint}")).await;
        let errors = [
            Loose::get_or_create(&db.pool, loose(1, 1)).await.map(drop),
            Loose::bulk_get_or_create(&db.pool, rows()).await.map(drop),
            Loose::bulk_upsert(&db.pool, rows()).await.map(drop),
            Loose::bulk_create_new(&db.pool, (0..MANY).map(|number| loose(1, number))).await.map(drop),
            Loose::bulk_create_new(&db.pool, rows()).await.map(drop),
        ];
        for error in errors {
            assert!(matches!(error, Err(Error::MissingUniqueIndex { .. })), "{constraint}: {error:?}");
        }
        assert_eq!(db.count("loose").await, 0);
    }
    db.run("CREATE UNIQUE INDEX in_another_order ON loose (b, a)").await;
    assert!(Loose::bulk_create_new(&db.pool, rows()).await.is_err());
    assert!(Loose::verify(&db.pool).await.is_err());
    db.run("ALTER TABLE loose DROP CONSTRAINT late0, DROP CONSTRAINT late1").await;
    Loose::verify(&db.pool).await.unwrap();
    assert_eq!(Loose::bulk_create_new(&db.pool, rows()).await.unwrap().created, 1);
    assert!(!Loose::get_or_create(&db.pool, loose(1, 1)).await.unwrap().created);
}

/// An index that is checked late meanwhile lets no duplicate in.
///
/// Whether an index is checked late is asked once for a while; that there is one is asked by each call.
#[tokio::test(flavor = "multi_thread")]
async fn b8_an_index_that_is_checked_late_meanwhile_lets_no_duplicate_in() {
    let asks = |seen: &[String]| seen.iter().filter(|sql| sql.contains("indimmediate")).count();
    let db = fixture(1, &["ALTER TABLE loose ADD CONSTRAINT at_once UNIQUE (a, b)"]).await;
    let rows = |number| [loose(1, number), loose(2, number)];
    for (number, asked, created) in [(1, 1, 2), (2, 0, 2), (1, 0, 0)] {
        let (done, seen) = statements(Loose::bulk_create_new(&db.pool, rows(number))).await;
        assert_eq!(asks(&seen), asked, "{seen:?}");
        assert_eq!(done.unwrap().created, created);
    }
    // Another pool's database may have other indexes.
    let other = db.another_pool(1).await;
    let (done, seen) = statements(Loose::bulk_create_new(&other, rows(3))).await;
    assert_eq!((done.unwrap().created, asks(&seen)), (2, 1));

    db.run(
        "ALTER TABLE loose DROP CONSTRAINT at_once, ADD CONSTRAINT late UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED",
    )
    .await;
    assert_eq!(Loose::bulk_create_new(&db.pool, rows(3)).await.unwrap().created, 0);
    let mut theirs = db.outside.begin().await.unwrap();
    let insert = "INSERT INTO loose (a, b, label) VALUES (1, 4, 'theirs'), (2, 4, 'theirs')";
    sqlx::query(insert).execute(&mut *theirs).await.unwrap();
    let pool = db.pool.clone();
    let call = tokio::spawn(async move { Loose::bulk_create_new(&pool, rows(4)).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = current_setting('application_name') \
                 AND wait_event_type = 'Lock'";
    while db.number(waits).await == 0 {
        tokio::task::yield_now().await;
    }
    theirs.commit().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().created, 0);
    assert_eq!(db.count("loose WHERE b = 4").await, 2);
    // One row asks each time.
    let error = Loose::bulk_create_new(&db.pool, [loose(1, 5)]).await.unwrap_err();
    assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{error:?}");

    db.run("ALTER TABLE loose DROP CONSTRAINT late").await;
    let error = Loose::bulk_create_new(&db.pool, rows(5)).await.unwrap_err();
    assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{error:?}");
    assert_eq!(db.count("loose WHERE b = 5").await, 0);
}

/// A small table is not read once for each staged row.
///
/// The most rows that travel in one statement, into a table of few pages of which the statistics say that it is empty.
#[tokio::test(flavor = "multi_thread")]
async fn b6_a_small_table_is_not_read_once_for_each_row_of_a_large_statement() {
    let db = fixture(1, &[]).await;
    let rows = || (0..2_000).map(|number| retweet(1, number));
    let (done, seen) = statements(Retweet::bulk_create_new(&db.pool, rows())).await;
    assert_eq!(done.unwrap().created, 2_000);
    for sql in ["DELETE FROM retweets", "ANALYZE retweets"] {
        db.run(sql).await;
    }
    assert_eq!(Retweet::bulk_create_new(&db.pool, rows().take(500)).await.unwrap().created, 500);
    let merge = seen.iter().find(|sql| sql.contains("unnest(")).unwrap();
    let mut conn = db.pool.acquire().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE many AS {merge}"))).execute(&mut *conn).await.unwrap();
    let array = (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let arrays = merge.matches("[]").map(|_| format!("'{{{array}}}'")).collect::<Vec<_>>().join(", ");
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE many({arrays})"));
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *conn).await.unwrap();
    assert!(!plan.iter().any(|step| step.contains("Seq Scan on retweets")), "{}", plan.join("\n"));
    conn.close().await.unwrap();
}

/// Rows are staged where the server refuses short calls.
///
/// As a sharded server may: it knows the statements of a staging table only.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_staged_where_the_server_does_not_know_the_statements_of_short_calls() {
    let db = fixture(
        2,
        &[
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF current_query() NOT LIKE '%upsertable_staged%' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '0A000'; END IF; \
             RETURN NEW; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT ON retweets FOR EACH ROW EXECUTE FUNCTION refuse()",
        ],
    )
    .await;
    let mut tweet = 0;
    for count in [1, 10, 100] {
        let mut rows = || {
            tweet += 1;
            (0..count).map(move |number| retweet(tweet, number)).chain([retweet(tweet, 0)]).take(count as usize + 1)
        };
        let all = BulkCreated { received: count as u64 + 1, created: count as u64 };
        assert_eq!(Retweet::bulk_create_new(&db.pool, rows()).await.unwrap(), all);
        let mut conn = db.pool.acquire().await.unwrap();
        assert_eq!(Retweet::bulk_create_new(&mut *conn, rows()).await.unwrap(), all);
        let mut tx = conn.begin().await.unwrap();
        assert_eq!(Retweet::bulk_create_new(&mut *tx, rows()).await.unwrap(), all);
        tx.commit().await.unwrap();
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        let mut received = 0;
        let told = Retweet::bulk(rows()).on_progress(|progress| received = progress.received).create_new(&mut tx).await;
        assert_eq!((told.unwrap(), received), (all, all.received));
        tx.commit().await.unwrap();
    }
    assert_eq!(db.count("retweets").await, 4 * 111);
    db.assert_pool_clean("after short calls that were refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_and_a_view_are_tables_like_any_other() {
    let partitioned = [
        "DROP TABLE retweets",
        "CREATE TABLE retweets (id BIGINT GENERATED ALWAYS AS IDENTITY, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, \
         original_author BIGINT NOT NULL, UNIQUE (tweet, retweeter)) PARTITION BY HASH (tweet)",
        "CREATE TABLE part0 PARTITION OF retweets FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE part1 PARTITION OF retweets FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    ];
    let view = ["ALTER TABLE retweets RENAME TO real_retweets", "CREATE VIEW retweets AS SELECT * FROM real_retweets"];
    for (name, tables) in [("partitioned", &partitioned[..]), ("view", &view[..])] {
        let db = fixture(2, tables).await;
        let made = Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap();
        assert!(made.created, "{name}");
        assert!(!Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap().created, "{name}");
        assert!(!Retweet::upsert(&db.pool, retweet(1, 1)).await.unwrap().created, "{name}");
        let rows = |count: i64| (0..count).map(|number| retweet(number, 1));
        for (count, created) in [(10, 9), (MANY, MANY as u64 - 10), (MANY, 0)] {
            assert_eq!(Retweet::bulk_create_new(&db.pool, rows(count)).await.unwrap().created, created, "{name}");
        }
        let done = Retweet::bulk_upsert(&db.pool, rows(MANY + 1)).await.unwrap();
        assert_eq!((done.created, done.updated), (1, MANY as u64), "{name}");
        let all = Retweet::bulk_get_or_create(&db.pool, rows(100)).await.unwrap();
        assert!(all.iter().all(|outcome| !outcome.created), "{name}");
    }
}

/// Triggers that leave out rows are no conflicts.
///
/// PostgreSQL's own trigger that leaves out an update which changes nothing, and one that leaves out a row.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_leave_out_rows_are_no_conflicts() {
    let db = fixture(2, &[
        "CREATE TRIGGER z BEFORE UPDATE ON retweets FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.retweeter = 13 THEN RETURN NULL; END IF; RETURN NEW; END'",
        "CREATE TRIGGER skip BEFORE INSERT ON retweets FOR EACH ROW EXECUTE FUNCTION skip()",
    ])
    .await;
    let rows = || (0..20).map(|number| retweet(1, number));
    assert_eq!(Retweet::bulk_create_new(&db.pool, rows()).await.unwrap().created, 19);
    let done = Retweet::bulk_upsert(&db.pool, rows().filter(|row| row.retweeter != 13)).await.unwrap();
    assert_eq!((done.created, done.updated), (0, 19));
    assert!(matches!(Retweet::get_or_create(&db.pool, retweet(1, 13)).await, Err(Error::KeyMismatch { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_is_used_up_for_a_row_that_is_there() {
    let db = fixture(1, &[]).await;
    let rows = |count| (0..count).map(|number| retweet(1, number));
    Retweet::bulk_create_new(&db.pool, rows(MANY)).await.unwrap();
    for _ in 0..3 {
        Retweet::bulk_create_new(&db.pool, rows(MANY)).await.unwrap();
        Retweet::bulk_create_new(&db.pool, rows(10)).await.unwrap();
        Retweet::bulk_get_or_create(&db.pool, rows(10)).await.unwrap();
        Retweet::bulk_upsert(&db.pool, rows(10)).await.unwrap();
        Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap();
        Retweet::upsert(&db.pool, retweet(1, 1)).await.unwrap();
    }
    assert_eq!(Retweet::get_or_create(&db.pool, retweet(2, 1)).await.unwrap().row.id, MANY + 1);
}

/// Few rows cost one statement, and no temporary table.
#[tokio::test(flavor = "multi_thread")]
async fn few_rows_cost_one_statement() {
    let db = fixture(1, &[]).await;
    let (done, seen) =
        statements(Retweet::bulk_create_new(&db.pool, (0..1_000).map(|number| retweet(1, number)))).await;
    assert_eq!((done.unwrap().created, seen.len()), (1_000, 1), "{seen:?}");
}
