//! Bulk calls that commit on their way.

use std::sync::Mutex;

use futures_util::stream;
use upsertable::{BulkCreated, Error, Upsertable as _, testing::statements};
use upsertable_tests::{
    at_every_poll,
    models::{Note, Retweet, note, retweet},
};

use super::{Fixture, ImportError, kind, tables, tables::Song};

#[tokio::test(flavor = "multi_thread")]
async fn b1_with_commit_every_the_parts_before_an_error_are_kept_and_the_next_call_goes_on() {
    let db = Fixture::new().await;
    let slugs = || (0..25).map(|number| format!("slug {number:02}"));
    let notes = |bad: usize| {
        slugs().enumerate().map(move |(number, slug)| {
            let mut note = note(&slug);
            note.stars = if number == bad { 6 } else { 5 };
            note
        })
    };
    let progress = Mutex::new(Vec::new());
    let listener = |p: upsertable::Progress| progress.lock().unwrap().push((p.received, p.committed));
    let call = Note::bulk(notes(23)).commit_every(10).on_progress(listener).create_new(&db.pool);
    let error = call.await.unwrap_err();
    let Error::Partly { committed, operation, source, .. } = &error else { panic!("{error}") };
    assert_eq!((*committed, *operation, kind(source)), (20, "bulk_create_new", "Sql"));
    assert!(error.to_string().contains("20 rows are committed"), "{error}");
    assert!(!error.is_retryable() && !error.is_connection_lost());
    assert_eq!(db.count("notes").await, 20);
    let progress = progress.into_inner().unwrap();
    assert!(progress.contains(&(10, 10)) && progress.contains(&(20, 20)), "{progress:?}");
    assert!(progress.is_sorted(), "{progress:?}");
    assert!(progress.iter().all(|(received, committed)| committed % 10 == 0 && received <= &25), "{progress:?}");

    let done = Note::bulk(notes(99)).commit_every(10).create_new(&db.pool).await.unwrap();
    assert_eq!(done, BulkCreated { received: 25, created: 5 });

    // In the first part nothing is kept, so there is nothing to tell.
    db.run("DELETE FROM notes").await;
    let error = Note::bulk(notes(3)).commit_every(10).create_new(&db.pool).await.unwrap_err();
    assert_eq!((kind(&error), db.count("notes").await), ("Sql", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_the_error_of_a_stream_is_given_as_it_is_and_the_parts_before_it_are_kept() {
    let db = Fixture::with_connections(1).await;
    let committed = Mutex::new(0);
    let rows = stream::iter((0..9).map(|number| match number {
        8 => Err(ImportError::Line(8)),
        _ => Ok(retweet(1, number)),
    }));
    let call = Retweet::bulk_stream(rows).commit_every(3).on_progress(|p| *committed.lock().unwrap() = p.committed);
    assert!(matches!(call.create_new(&db.pool).await, Err(ImportError::Line(8))));
    assert_eq!((db.count("retweets").await, committed.into_inner().unwrap()), (6, 6));
    db.assert_pool_clean("after a stream that failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_the_parts_count_as_if_one_call_had_come_after_the_other() {
    let db = tables::fixture().await;
    let songs = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5)].map(|(name, score)| tables::song(name, score, "x"));
    let done = Song::bulk(songs).commit_every(2).upsert(&db.pool).await.unwrap();
    assert_eq!((done.received, done.created, done.updated), (5, 3, 2));
    assert_eq!(db.numbers("SELECT score FROM songs ORDER BY name").await, [5, 2, 4]);

    let rows = [(1, 1), (1, 2), (1, 1), (1, 3), (1, 2)].map(|(tweet, retweeter)| retweet(tweet, retweeter));
    let outcomes = Retweet::bulk(rows).commit_every(2).get_or_create(&db.pool).await.unwrap();
    let told: Vec<(i64, bool)> = outcomes.iter().map(|outcome| (outcome.row.retweeter, outcome.created)).collect();
    assert_eq!(told, [(1, true), (2, true), (1, false), (3, true), (2, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_with_commit_every_there_is_no_part_without_rows() {
    let db = Fixture::new().await;
    let rows = |count| (0..count).map(move |number| retweet(count, number));
    let (done, one) = statements(Retweet::bulk(rows(10)).commit_every(10).create_new(&db.pool)).await;
    assert_eq!(done.unwrap().created, 10);
    let (done, two) = statements(Retweet::bulk(rows(20)).commit_every(10).create_new(&db.pool)).await;
    assert_eq!((done.unwrap().created, two.len()), (20, 2 * one.len()), "{two:#?}");
    let (done, none) = statements(Retweet::bulk(rows(0)).commit_every(0).create_new(&db.pool)).await;
    assert_eq!((done.unwrap(), none.len()), (BulkCreated { received: 0, created: 0 }, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_every_needs_a_pool() {
    let db = Fixture::with_connections(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let error = Retweet::bulk([retweet(1, 1)]).commit_every(10).create_new(&mut tx).await.unwrap_err();
    assert_eq!(kind(&error), "Unsupported");
    assert!(error.to_string().contains("give the pool"), "{error}");
    Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = db.pool.acquire().await.unwrap();
    let error = Retweet::bulk([retweet(1, 1)]).commit_every(10).upsert(&mut *conn).await.unwrap_err();
    assert_eq!((kind(&error), db.count("retweets").await), ("Unsupported", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_call_with_commit_every_that_is_dropped_keeps_whole_parts() {
    let db = Fixture::with_connections(1).await;
    let mut in_the_middle = 0;
    for _ in 0..20 {
        // All of it can be done in a few polls, where the answers come before they are asked for.
        if in_the_middle > 0 {
            break;
        }
        at_every_poll(1, async |cut| {
            db.run("DELETE FROM retweets").await;
            let rows = || (0..9).map(|number| retweet(1, number));
            let done = cut.short(Retweet::bulk(rows()).commit_every(3).create_new(&db.pool)).await;
            db.assert_pool_clean(&cut.to_string()).await;
            let kept = db.count("retweets").await;
            assert!(kept % 3 == 0, "{kept} rows are kept");
            in_the_middle += u32::from(kept > 0 && kept < 9);
            let rest = Retweet::bulk(rows()).commit_every(3).create_new(&db.pool).await.unwrap();
            assert_eq!(rest, BulkCreated { received: 9, created: 9 - kept.cast_unsigned() });
            done.is_some()
        })
        .await;
    }
    assert!(in_the_middle > 0);
}
