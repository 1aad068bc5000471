//! How SQLite runs the statements of every call.

use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use upsertable::{Upsertable as _, testing::statements};

use crate::{PEOPLE, Person, READS, WRITES, by_email, call, in_memory, person, run};

/// The steps of all statements that read a table from end to end.
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
        // What has a condition that is false reads nothing, whatever its plan says.
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
    // The worst that a planner can know: nothing, then that the table is empty, then that it was when the table has grown.
    for state in ["", "ANALYZE", "grown since"] {
        if state == "grown since" {
            Person::bulk_create_new(&pool, (0..5_000).map(|number| person(&format!("x{number}"), 1))).await.unwrap();
        } else {
            run(&pool, state).await;
        }
        for (name, statements) in &seen {
            assert_eq!(scans(&pool, statements, "people").await, Vec::<String>::new(), "{name}, {state:?}");
        }
    }
}
