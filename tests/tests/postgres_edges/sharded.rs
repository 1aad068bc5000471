//! Forms of statements that a sharded server refuses.
//!
//! Functions of this one refuse them in its place.

use upsertable::{Upsertable as _, testing::statements};
use upsertable_tests::models::{NewRetweet, Retweet, retweet};

use super::fixture;

fn rows(count: i64) -> impl Iterator<Item = NewRetweet> {
    (0..count).map(|number| retweet(number, number))
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_batches_take_rows_by_their_whole_keys_where_no_page_of_them_can_be_locked() {
    let refuses = "CREATE FUNCTION takes_no_page() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN \
                   IF current_query() LIKE '%LIMIT%FOR NO KEY UPDATE%' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '0A000'; END IF; \
                   RETURN true; END $$";
    let db = fixture(4, &[refuses]).await;
    Retweet::bulk_create_new(&db.pool, rows(25)).await.unwrap();
    let run = Retweet::batches(&db.pool)
        .filter("takes_no_page() AND original_author <> ?")
        .bind(7_i64)
        .size(10)
        .concurrency(2)
        .run(async |tx, row: Retweet| {
            let done = sqlx::query("UPDATE retweets SET original_author = 7 WHERE id = $1").bind(row.id);
            done.execute(&mut **tx).await.map(drop)
        });
    let (report, seen) = statements(run).await;
    let report = report.unwrap();
    assert_eq!((report.done, report.failed, report.left), (25, 0, 0), "{seen:?}");
    assert!(seen.iter().any(|sql| sql.ends_with("= $3 FOR NO KEY UPDATE SKIP LOCKED")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_calls_are_joins_where_looks_are_refused_and_that_is_remembered() {
    let refuses = "CREATE FUNCTION takes_no_look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   IF current_query() LIKE '%LATERAL%' THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'XX000'; END IF; RETURN NEW; END $$";
    let trigger = "CREATE TRIGGER no_look BEFORE INSERT ON retweets FOR EACH ROW EXECUTE FUNCTION takes_no_look()";
    let db = fixture(2, &[refuses, trigger]).await;
    let (done, seen) = statements(Retweet::bulk_create_new(&db.pool, rows(10))).await;
    assert_eq!(done.unwrap().created, 10);
    assert!(seen.iter().all(|sql| !sql.contains("CREATE TEMP")), "{seen:?}");
    let more = rows(20).chain(rows(20));
    let (done, seen) = statements(Retweet::bulk_create_new(&db.pool, more)).await;
    assert_eq!((done.unwrap().created, seen.len()), (10, 1), "{seen:?}");
}
