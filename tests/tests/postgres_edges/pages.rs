//! Pages of a table, as the server plans to read them.

use std::sync::Mutex;

use sqlx::AssertSqlSafe;
use tokio::sync::oneshot;
use upsertable::{BoxError, Upsertable, testing::statements};

use super::{fixture, texts};

#[derive(Debug, sqlx::FromRow, Upsertable)]
#[upsertable(table = "entries")]
#[unique(number)]
struct Entry {
    number: i64,
}

/// A page is read in the order of the index.
///
/// A plan is kept for all values that come. Between two of which it knows nothing the server expects few rows, of which it would read and
/// sort all that there are: for each page the rest of the table.
#[tokio::test(flavor = "multi_thread")]
async fn a4_a_page_is_read_in_the_order_of_the_index_though_the_server_plans_for_any_bounds() {
    let tables = [
        "CREATE TABLE entries (number BIGINT NOT NULL, note TEXT NOT NULL, UNIQUE (number))",
        "INSERT INTO entries SELECT n, repeat('x', 100) FROM generate_series(1, 100000) AS s (n) ORDER BY hashint8(n)",
        "ANALYZE entries",
    ];
    let db = fixture(1, &tables).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let stop = Mutex::new(Some(stop));
    let run = Entry::batches(&db.pool).stop_on(stopped).run(async |_, entry: Entry| {
        if entry.number > 500 {
            drop(stop.lock().unwrap().take());
        }
        Ok::<_, BoxError>(())
    });
    let (report, seen) = statements(run).await;
    assert_eq!(report.unwrap().done, 1_000);
    let keys = seen.iter().find(|sql| sql.contains("> ($1)") && sql.ends_with("LIMIT 500")).unwrap();
    assert!(keys.contains("$2"), "{keys}");
    let mut conn = db.pool.acquire().await.unwrap();
    for sql in ["SET plan_cache_mode = force_generic_plan".to_owned(), format!("PREPARE page (int8, int8) AS {keys}")] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await.unwrap();
    }
    drop(conn);
    let plan = texts(&db.pool, "EXPLAIN EXECUTE page (0, 100000)").await.join("\n");
    assert!(plan.contains("Index") && !plan.contains("Sort"), "{plan}");
}
