//! Keys of ENUM and SET.
//!
//! A server sorts them by a number and shows them as text.

use upsertable::Upsertable;

use crate::{number, with_tables};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[allow(clippy::struct_field_names, reason = "the column is called so")]
#[upsertable(table = "moods")]
#[unique(mood, tags, day)]
struct Mood {
    mood: String,
    tags: String,
    day: i64,
    seen: i64,
}

/// A table with an ENUM and a SET, neither in alphabetical order.
const MOODS: &str = "CREATE TABLE moods (mood ENUM('sad', 'calm', 'wild', 'angry') NOT NULL, tags SET('z', 'a', 'm') NOT NULL, \
    day BIGINT NOT NULL, seen BIGINT NOT NULL, UNIQUE (mood, tags, day))";

fn all() -> Vec<Mood> {
    let mut all = Vec::new();
    for mood in ["sad", "calm", "wild", "angry"] {
        for tags in ["", "z", "a", "z,a", "m", "z,a,m"] {
            all.extend((0..4).map(|day| Mood { mood: mood.into(), tags: tags.into(), day, seen: 0 }));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_pages_by_words_meet_each_row_once() {
    for (size, concurrency) in [(1, 1), (5, 1), (7, 3), (1_000, 1)] {
        let db = with_tables(4, &[MOODS]).await;
        assert_eq!(Mood::bulk_create_new(&db.pool, all()).await.unwrap().created, 96);
        let fails = |row: &Mood| row.mood == "wild" && row.day == 2;
        let report = Mood::batches(&db.pool)
            .filter("day >= ?")
            .bind(0_i64)
            .size(size)
            .concurrency(concurrency)
            .run(async |tx, row: Mood| {
                let add = "UPDATE moods SET seen = seen + 1 WHERE mood = ? AND tags = ? AND day = ?";
                sqlx::query(add).bind(&row.mood).bind(&row.tags).bind(row.day).execute(&mut **tx).await?;
                if fails(&row) { Err(sqlx::Error::RowNotFound) } else { Ok(()) }
            })
            .await
            .unwrap();
        assert_eq!((report.done, report.failed), (90, 6), "{size}");
        assert_eq!(report.failures.len(), 6);
        let wrong = "SELECT count(*) FROM moods WHERE seen <> IF(mood = 'wild' AND day = 2, 0, 1)";
        assert_eq!(number(&db.pool, wrong).await, 0, "{size}");
    }
}

/// Rows that others had locked are done after all.
///
/// They are left for later, in parts of the table that lie between two keys.
#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_others_had_locked_are_done_after_all() {
    let db = with_tables(3, &[MOODS]).await;
    Mood::bulk_create_new(&db.pool, all()).await.unwrap();
    // At REPEATABLE READ it would lock rows beside these, too.
    let begin = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
    let mut other = Some(db.outside.begin_with(begin).await.unwrap());
    sqlx::query(
        "SELECT mood FROM moods FORCE INDEX (mood) WHERE mood IN ('calm', 'angry') AND tags = 'z,a' FOR UPDATE",
    )
    .execute(&mut **other.as_mut().unwrap())
    .await
    .unwrap();
    let other = std::sync::Mutex::new(other);
    let report = Mood::batches(&db.pool)
        .size(10)
        .on_progress(|progress| {
            // All the others are done: now it gives them back, by being dropped.
            if progress.done >= 96 - 8 {
                drop(other.lock().unwrap().take());
            }
        })
        .run(async |tx, row: Mood| {
            let add = "UPDATE moods SET seen = seen + 1 WHERE mood = ? AND tags = ? AND day = ?";
            sqlx::query(add).bind(&row.mood).bind(&row.tags).bind(row.day).execute(&mut **tx).await.map(drop)
        })
        .await
        .unwrap();
    assert_eq!((report.done, report.failed), (96, 0));
    assert_eq!(number(&db.pool, "SELECT count(*) FROM moods WHERE seen <> 1").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_the_closure_moves_behind_the_last_word_are_done_once() {
    for size in [1, 3, 100] {
        let db = with_tables(2, &[MOODS]).await;
        Mood::bulk_create_new(&db.pool, all()).await.unwrap();
        let work = async |tx: &mut upsertable::Transaction<sqlx::MySql>, row: Mood| {
            let add = "UPDATE moods SET seen = seen + 1, day = day + 100 WHERE mood = ? AND tags = ? AND day = ?";
            sqlx::query(add).bind(&row.mood).bind(&row.tags).bind(row.day).execute(&mut **tx).await.map(drop)
        };
        let run = Mood::batches(&db.pool).filter("mood = 'calm' AND tags = 'z,a'").size(size).run(work);
        let report = tokio::time::timeout(std::time::Duration::from_mins(1), run).await.expect("no end").unwrap();
        assert_eq!((report.done, report.failed, report.left), (4, 0, 4), "{size}");
        assert_eq!(number(&db.pool, "SELECT count(*) FROM moods WHERE seen = 1 AND day >= 100").await, 4, "{size}");
    }
}
