//! Query plans for the statements of every call.

use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use upsertable::{Upsertable as _, testing::statements};
use upsertable_tests::models::{Account, Retweet, account, retweet};

use crate::{Fixture, PEOPLE, Person, READS, WRITES, assert_clean, by_email, call, in_memory, number, person, run};

/// States of statistics that mislead a planner most.
///
/// The worst that it can know of an empty table: nothing, then that it is empty, then that it was when it has grown.
const STATES: [&str; 3] = ["never analysed", "analysed", "grown since"];

async fn bring_to(pool: &SqlitePool, state: &str) {
    match state {
        "analysed" => run(pool, "ANALYZE").await,
        "grown since" => {
            Person::bulk_create_new(pool, (0..5_000).map(|number| person(&format!("x{number}"), 1))).await.unwrap();
        }
        _ => {}
    }
}

/// Steps that read a table from end to end.
///
/// Of all statements.
async fn scans(pool: &SqlitePool, seen: &[String], table: &str) -> Vec<String> {
    let mut conn = pool.acquire().await.unwrap();
    let create = seen.iter().find(|sql| sql.starts_with("CREATE"));
    if let Some(create) = create {
        sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(&mut *conn).await.unwrap();
    }
    let mut scans = Vec::new();
    let mut explained = 0;
    for sql in seen.iter().filter(|sql| ["SELECT", "INSERT", "UPDATE", "WITH"].iter().any(|verb| sql.starts_with(verb)))
    {
        // A statement whose condition is false reads nothing, whatever its plan says.
        if !sql.contains(table) || sql.ends_with("WHERE false") {
            continue;
        }
        explained += 1;
        for step in sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut *conn).await.unwrap()
        {
            let step: String = step.get("detail");
            let name = step.split(' ').nth(1).unwrap_or_default();
            if (name == "t" || name == table) && (step.starts_with("SCAN") || step.contains("AUTOMATIC")) {
                scans.push(format!("{step}: {sql}"));
            }
        }
    }
    assert!(explained > 0, "{seen:?}");
    if create.is_some() {
        sqlx::raw_sql("DROP TABLE temp.upsertable_staged").execute(&mut *conn).await.unwrap();
    }
    scans
}

#[tokio::test]
async fn b6_no_statement_of_any_call_reads_the_whole_table() {
    let pool = in_memory(&[PEOPLE]).await;
    let mut seen = Vec::new();
    for name in READS.into_iter().chain(WRITES) {
        let (outcome, statements) = statements(call(name, &pool)).await;
        outcome.unwrap();
        seen.push((name, statements));
    }
    let mut tx = upsertable::begin(&pool).await.unwrap();
    Person::after_commit(&mut tx, async |_| {});
    let (done, with_hook) = statements(Person::bulk_create_new(&mut tx, [person("hooked", 1)])).await;
    assert_eq!(done.unwrap().created, 1);
    seen.push(("bulk_create_new with a hook", with_hook));
    tx.rollback().await.unwrap();
    let (found, many) =
        statements(Person::find_all(&pool, (0..2_000).map(|number| by_email(&number.to_string())))).await;
    found.unwrap();
    seen.push(("find_all of many", many));

    run(&pool, "DELETE FROM people").await;
    for state in STATES {
        bring_to(&pool, state).await;
        for (name, statements) in &seen {
            assert_eq!(scans(&pool, statements, "people").await, Vec::<String>::new(), "{name}, {state:?}");
        }
    }
}

/// A merge of many rows never reads the whole table.
///
/// Of many rows the merge is another one than of few.
#[tokio::test]
async fn b6_a_merge_of_many_rows_never_reads_the_whole_table() {
    const MANY: i64 = 500_000;
    let pool = in_memory(&[PEOPLE]).await;
    let rows = (0..MANY).map(|number| person(&format!("{number}"), number));
    let (done, many) = statements(Person::bulk_create_new(&pool, rows)).await;
    assert_eq!(done.unwrap().created, MANY as u64);
    run(&pool, "DELETE FROM people").await;
    for state in STATES {
        bring_to(&pool, state).await;
        assert_eq!(scans(&pool, &many, "people").await, Vec::<String>::new(), "{state:?}");
    }
}

#[tokio::test]
async fn of_many_rows_the_first_of_each_key_wins_as_the_index_compares() {
    const MANY: i64 = 500_000;
    let pool =
        in_memory(&[&PEOPLE.replace(" UNIQUE", ""), "CREATE UNIQUE INDEX i ON people (email COLLATE NOCASE)"]).await;
    run(&pool, "INSERT INTO people (email, age) VALUES ('KNOWN', 7)").await;
    let first = (0..MANY).map(|number| person(&format!("a{number}"), 1));
    let again = [person("A0", 2), person("known", 2), person("New", 3), person("nEW", 4)];
    let done =
        Person::bulk_create_new(&pool, again.clone().into_iter().skip(1).chain(first).chain(again)).await.unwrap();
    assert_eq!((done.received, done.created), (MANY as u64 + 7, MANY as u64 + 1));
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM people").await, MANY + 2);
    for (email, age) in [("a0", 1), ("KNOWN", 7), ("New", 3)] {
        assert_eq!(Person::find(&pool, by_email(email)).await.unwrap().unwrap().age, age, "{email}");
    }
    assert_clean(&pool, "many rows").await;
}

/// A merge from the staging table never reads the whole target.
///
/// Short calls have no staging table: these have one, for their rows are asked for.
#[tokio::test]
async fn b6_a_merge_from_the_staging_table_never_reads_the_whole_target() {
    let db = Fixture::new().await;
    let (_, found) = statements(Retweet::bulk_get_or_create(&db.pool, [retweet(1, 1)])).await;
    let (_, updated) = statements(Account::bulk_upsert(&db.pool, [account("a@x", "a")])).await;
    db.run("DELETE FROM retweets").await;
    db.run("DELETE FROM accounts").await;
    for state in STATES {
        match state {
            "analysed" => drop(db.run("ANALYZE").await),
            "grown since" => drop(Retweet::bulk_create_new(&db.pool, (0..5_000).map(|n| retweet(1, n))).await.unwrap()),
            _ => {}
        }
        let pool = db.another_pool(1).await;
        for (seen, table) in [(&found, "retweets"), (&updated, "accounts")] {
            let merges =
                seen.iter().filter(|sql| sql.contains(&format!("`{table}`")) && sql.contains("upsertable_staged"));
            assert!(merges.count() >= 2, "{seen:#?}");
            assert_eq!(scans(&pool, seen, table).await, Vec::<String>::new(), "{state}, {table}");
        }
    }
}
