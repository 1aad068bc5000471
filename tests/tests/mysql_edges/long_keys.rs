//! Keys that are alike for longer than a server sorts by default.

use upsertable::Upsertable;

use crate::{number, run, settings::pool_set_to, with_tables};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "papers")]
#[unique(title)]
struct Paper {
    title: String,
    pages: i64,
}

/// A table without an index in the order of the key.
///
/// So the key has to be sorted.
const PAPERS: &str = "CREATE TABLE papers (title VARCHAR(3000) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL, pages BIGINT NOT NULL, UNIQUE (title))";

fn paper(number: usize, pages: i64) -> Paper {
    Paper { title: format!("{}{number:04}", "x".repeat(1_100)), pages }
}

/// Papers that come twice, the second time in reverse order.
fn twice(from: usize, to: usize) -> Vec<Paper> {
    (from..to).chain((from..to).rev()).enumerate().map(|(place, number)| paper(number, place as i64)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_long_keys_that_come_twice_are_told_apart() {
    for settings in ["SET max_sort_length = DEFAULT", "SET max_sort_length = 64"] {
        let db = with_tables(1, &[PAPERS]).await;
        let pool = pool_set_to(&db.pool, settings).await.unwrap();
        assert_eq!(Paper::bulk_create_new(&pool, twice(0, 60)).await.unwrap().created, 60);
        for in_transaction in [false, true] {
            run(&db.pool, "DELETE FROM papers WHERE title LIKE '%5'").await;
            let mut tx = upsertable::begin(&pool).await.unwrap();
            let outcomes = if in_transaction {
                Paper::bulk_get_or_create(&mut tx, twice(0, 70)).await
            } else {
                tx.rollback().await.unwrap();
                let outcomes = Paper::bulk_get_or_create(&pool, twice(0, 70)).await;
                tx = upsertable::begin(&pool).await.unwrap();
                outcomes
            };
            tx.commit().await.unwrap();
            let outcomes = outcomes.unwrap();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), if in_transaction { 7 } else { 16 });
            for (outcome, asked) in outcomes.iter().zip(twice(0, 70)) {
                assert_eq!(outcome.row.title, asked.title);
            }
        }
        let done = Paper::bulk_upsert(&pool, twice(0, 80)).await.unwrap();
        assert_eq!((done.created, done.updated), (10, 70));
        // The last row of a key wins.
        let last = "SELECT CAST(SUM(pages <> 159 - RIGHT(title, 4)) AS SIGNED) FROM papers";
        assert_eq!(number(&db.pool, last).await, 0, "{settings}");
    }
}

/// Pages by long keys meet each row once.
///
/// The caller's filter has the server take an index that is not in the order of the key, so that it sorts.
#[tokio::test(flavor = "multi_thread")]
async fn a4_pages_by_long_keys_meet_each_row_once() {
    const WANTED: usize = 40;
    let todo = "ALTER TABLE papers ADD COLUMN id BIGINT AUTO_INCREMENT PRIMARY KEY FIRST, \
         ADD COLUMN todo BIGINT NOT NULL DEFAULT 3, ADD INDEX todo (todo)";
    for settings in ["SET max_sort_length = DEFAULT", "SET max_sort_length = 64"] {
        let db = with_tables(2, &[PAPERS, todo]).await;
        let pool = pool_set_to(&db.pool, settings).await.unwrap();
        Paper::bulk_create_new(&pool, (0..2_700).map(|n| paper(n * 7 % 2_700, 1))).await.unwrap();
        run(&db.pool, &format!("UPDATE papers SET todo = 1 WHERE RIGHT(title, 4) % 20 = 0 AND id <= {}", WANTED * 20))
            .await;
        run(&db.pool, "ANALYZE TABLE papers").await;
        for filter in ["todo = 1", "todo < 3", "todo IN (1, 2)"] {
            run(&db.pool, "UPDATE papers SET pages = (todo = 3)").await;
            let report = Paper::batches(&pool)
                .filter(sqlx::AssertSqlSafe(filter.to_owned()))
                .size(7)
                .run(async |tx, paper: Paper| {
                    let add = "UPDATE papers SET pages = pages + 1 WHERE title = ?";
                    sqlx::query(add).bind(paper.title).execute(&mut **tx).await.map(drop)
                })
                .await
                .unwrap();
            let wrong = number(&db.pool, "SELECT count(*) FROM papers WHERE pages <> 1").await;
            assert_eq!((report.done, wrong), (WANTED as u64, 0), "{settings}: {filter}");
        }
    }
}
