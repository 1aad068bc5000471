//! Query plans for merges from a staging table.

use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use upsertable::{Upsertable as _, testing::statements};
use upsertable_tests::models::{Account, Retweet, account, retweet};

use super::Fixture;

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
    for state in ["never analysed", "analysed when empty", "grown since"] {
        match state {
            "analysed when empty" => {
                db.run("ANALYZE").await;
            }
            "grown since" => {
                Retweet::bulk_create_new(&db.pool, (0..5_000).map(|n| retweet(1, n))).await.unwrap();
            }
            _ => {}
        }
        let pool = db.another_pool(1).await;
        let mut conn = pool.acquire().await.unwrap();
        for (statements, table) in [(&found, "retweets"), (&updated, "accounts")] {
            let mut merges = 0;
            for sql in statements {
                if sql.starts_with("CREATE") {
                    conn.execute(AssertSqlSafe(sql.clone())).await.unwrap();
                } else if sql.contains(&format!("`{table}`")) && sql.contains("upsertable_staged") {
                    merges += 1;
                    let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
                    for step in explain.fetch_all(&mut *conn).await.unwrap() {
                        let step: String = step.get("detail");
                        let of_target = step.split(' ').nth(1).is_some_and(|name| name == "t" || name == table);
                        let reads_all = step.starts_with("SCAN") || step.contains("AUTOMATIC");
                        assert!(!(of_target && reads_all), "{state}, {sql}: {step}");
                    }
                }
            }
            assert!(merges >= 2, "{statements:#?}");
            conn.execute("DROP TABLE temp.upsertable_staged").await.unwrap();
        }
    }
}
