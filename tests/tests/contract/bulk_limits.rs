//! Limits of the bulk calls with answers.
//!
//! Races, numbers of rows and columns, slow and broken streams.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::oneshot;
use upsertable::{BulkCreated, BulkUpserted, Error, Outcome, Progress, Upsertable as _, testing::statements};
use upsertable_tests::{
    models::{NewRetweet, Retweet, Wide, Word, retweet, wide},
    panic_text, race,
};

use super::{
    CALLERS, Fixture, ImportError, kind,
    tables::{self, NewSong, Song, song},
};

fn retweets(numbers: impl Iterator<Item = i64> + Clone + Send) -> impl Iterator<Item = NewRetweet> + Clone + Send {
    numbers.map(|number| retweet(1, number))
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_bulk_calls_of_every_kind_over_the_same_keys_all_succeed() {
    const ROUNDS: i64 = 20;
    const KEYS: i64 = 200;
    let db = tables::fixture().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut ids = Vec::new();
        let mut created = 0;
        for round in 0..ROUNDS {
            let mut rows: Vec<NewSong> =
                (0..KEYS).map(|key| song(&format!("{round} {key}"), caller, &caller.to_string())).collect();
            if caller % 2 == 0 {
                rows.reverse();
            } else {
                rows.rotate_left(((caller * 31 + round) % KEYS) as usize);
            }
            // Yields between rows, so that the calls' stages interleave.
            let slow = stream::iter(rows).then(|row| async {
                tokio::task::yield_now().await;
                row
            });
            start.wait().await;
            match caller % 4 {
                0 | 1 => {
                    let outcomes = Song::bulk_stream(slow).get_or_create(&pool).await.unwrap();
                    assert_eq!(outcomes.len() as i64, KEYS);
                    created += outcomes.iter().filter(|outcome| outcome.created).count() as u64;
                    ids.extend(outcomes.into_iter().map(|outcome| (outcome.row.name, outcome.row.id)));
                }
                2 => {
                    let done = Song::bulk_stream(slow).upsert(&pool).await.unwrap();
                    assert_eq!(done.created + done.updated, KEYS as u64);
                    created += done.created;
                }
                _ => created += Song::bulk_stream(slow).create_new(&pool).await.unwrap().created,
            }
        }
        (ids, created)
    })
    .await;
    let given = done;
    assert_eq!(given.iter().map(|(_, created)| created).sum::<u64>(), (ROUNDS * KEYS) as u64);
    assert_eq!(db.count("songs").await, ROUNDS * KEYS);
    let mut by_name: HashMap<String, i64> = HashMap::new();
    for (name, id) in given.into_iter().flat_map(|(ids, _)| ids) {
        assert_eq!(*by_name.entry(name).or_insert(id), id, "everybody was given the one row of each key");
    }
    assert_eq!(by_name.len() as i64, ROUNDS * KEYS);
}

/// Number of rows that the database is sent at once.
async fn chunk<M, F>(db: &Fixture, new: F) -> i64
where
    M: upsertable::On<super::Db>,
    F: Fn(i64) -> M::New + Clone + Send,
{
    let (first, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    let note = |progress: Progress| {
        let _ = first.compare_exchange(0, progress.received, Ordering::SeqCst, Ordering::SeqCst);
        seen.store(progress.received, Ordering::SeqCst);
    };
    M::bulk((0..40_000).map(new)).on_progress(note).create_new(&db.pool).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 40_000, "the last that is told is all");
    first.load(Ordering::SeqCst).cast_signed()
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_one_row_more_than_a_chunk_is_a_row_like_any_other() {
    let db = Fixture::new().await;
    let chunk = chunk::<Retweet, _>(&db, |number| retweet(1, number)).await;
    assert!(chunk > 1, "{chunk}");
    for rows in [1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 1] {
        if rows > 45_000 {
            continue;
        }
        db.run("DELETE FROM retweets").await;
        let there = rows / 2;
        Retweet::bulk_create_new(&db.pool, retweets(0..there)).await.unwrap();
        let outcomes = Retweet::bulk_get_or_create(&db.pool, retweets((0..rows).rev())).await.unwrap();
        let given = outcomes.iter().map(|outcome| (outcome.row.retweeter, outcome.created));
        assert!(given.eq((0..rows).rev().map(|number| (number, number >= there))), "{rows} rows");
        let done = Retweet::bulk_upsert(&db.pool, retweets(0..=rows)).await.unwrap();
        assert_eq!(done, BulkUpserted { received: rows as u64 + 1, created: 1, updated: rows as u64 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_one_column_and_sixty_columns_in_every_bulk_call() {
    let db = Fixture::new().await;
    let word = |number: i64| Word { word: format!("word {number}") };
    let outcomes = Word::bulk_get_or_create(&db.pool, (0..3_000).map(|number| word(number % 2_000))).await.unwrap();
    assert!(
        outcomes
            .iter()
            .zip(0..)
            .all(|(outcome, number)| *outcome == Outcome { row: word(number % 2_000), created: number < 2_000 })
    );
    let done = Word::bulk_upsert(&db.pool, (1_000..3_000).map(word)).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 2_000, created: 1_000, updated: 1_000 });

    let outcomes = Wide::bulk_get_or_create(&db.pool, (0..1_500).map(|number| wide(number % 1_000))).await.unwrap();
    assert!(
        outcomes
            .iter()
            .zip(0..)
            .all(|(outcome, number)| *outcome == Outcome { row: wide(number % 1_000), created: number < 1_000 })
    );
    let changed = |number: i64| Wide { c59: -number, ..wide(number) };
    let done = Wide::bulk_upsert(&db.pool, (500..1_500).map(changed)).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 1_000, created: 500, updated: 500 });
    let found = Wide::find_all(&db.pool, [0, 499, 500, 1_499].map(|number| wide(number).key())).await.unwrap();
    assert_eq!(found, [Some(wide(0)), Some(wide(499)), Some(changed(500)), Some(changed(1_499))]);
    assert_eq!(Wide::upsert(&db.pool, changed(0)).await.unwrap(), Outcome { row: changed(0), created: false });
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_progress_is_told_as_rows_are_sent_and_counts_them_all() {
    let db = Fixture::new().await;
    for call in ["create_new", "get_or_create", "upsert"] {
        for rows in [0_i64, 1, 2_500] {
            let told = std::sync::Mutex::new(Vec::new());
            let bulk = Wide::bulk((0..rows).map(wide))
                .on_progress(|progress: Progress| told.lock().unwrap().push(progress.received));
            match call {
                "create_new" => assert_eq!(bulk.create_new(&db.pool).await.unwrap().received, rows as u64),
                "get_or_create" => assert_eq!(bulk.get_or_create(&db.pool).await.unwrap().len() as i64, rows),
                _ => assert_eq!(bulk.upsert(&db.pool).await.unwrap().received, rows as u64),
            }
            let told = told.into_inner().unwrap();
            assert!(told.is_sorted_by(|earlier, later| earlier < later), "{call}: {told:?}");
            assert_eq!(told.last().copied().unwrap_or(0), rows as u64, "{call}: {told:?}");
        }
    }
}

/// A stream that pauses after its first rows.
///
/// It says when they have been asked for, and goes on when it is let.
fn gated(
    staged: oneshot::Sender<()>,
    gate: oneshot::Receiver<()>,
) -> impl stream::Stream<Item = Result<NewSong, ImportError>> + Send {
    let opened = stream::once(async move {
        staged.send(()).unwrap();
        gate.await.unwrap();
        Ok(song("late", 1, "stream"))
    });
    stream::iter((0..1_500).map(|number| Ok(song(&format!("{number}"), number, "stream")))).chain(opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_slow_stream_blocks_nobody_in_any_bulk_call() {
    for call in ["get_or_create", "upsert"] {
        let db = tables::fixture().await;
        let ((staged, is_staged), (open, gate)) = (oneshot::channel(), oneshot::channel());
        let pool = db.pool.clone();
        let task = tokio::spawn(async move {
            let bulk = Song::bulk_stream(gated(staged, gate));
            if call == "upsert" {
                return bulk.upsert(&pool).await.map(|done| (done.created, done.updated));
            }
            let outcomes = bulk.get_or_create(&pool).await?;
            let created = outcomes.iter().filter(|outcome| outcome.created).count() as u64;
            Ok((created, outcomes.len() as u64 - created))
        });
        is_staged.await.unwrap();
        db.run("INSERT INTO songs (name, score, added_by) VALUES ('3', 99, 'outside')").await;
        assert!(Song::upsert(&db.pool, song("4", 98, "upsert")).await.unwrap().created);
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        assert_eq!(
            Song::bulk_upsert(&mut tx, [song("5", 97, "bulk"), song("late", 96, "bulk")]).await.unwrap().created,
            2
        );
        tx.commit().await.unwrap();
        open.send(()).unwrap();
        assert_eq!(task.await.unwrap().unwrap(), (1_497, 4), "{call}");
        let scores = db.numbers("SELECT score FROM songs WHERE added_by <> 'stream' ORDER BY name").await;
        assert_eq!(scores, if call == "upsert" { [3, 4, 5, 1] } else { [99, 98, 97, 96] }, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_no_rows_cost_nothing_in_any_bulk_call() {
    let db = Fixture::with_connections(1).await;
    let held = db.pool.acquire().await.unwrap();
    let work = async {
        assert_eq!(Retweet::bulk_get_or_create(&db.pool, []).await.unwrap(), []);
        assert_eq!(Retweet::bulk_upsert(&db.pool, []).await.unwrap(), BulkUpserted::default());
        assert_eq!(Retweet::bulk([]).create_new(&db.pool).await.unwrap(), BulkCreated::default());
        let none = stream::empty::<Result<NewRetweet, ImportError>>();
        assert_eq!(
            Retweet::bulk_stream(none).upsert(&db.pool).await.unwrap().to_string(),
            "0 of 0 records added, 0 updated"
        );
    };
    assert_eq!(statements(work).await.1, Vec::<String>::new());
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_the_first_row_is_awaited_before_a_connection_is_taken_in_every_bulk_call() {
    let db = Fixture::with_connections(1).await;
    for call in 0..3 {
        let mut held = Some(db.pool.acquire().await.unwrap());
        // The only connection comes free when the first row is asked for.
        let rows = Retweet::bulk_stream(stream::iter(retweets(0..3)).inspect(move |_| drop(held.take())));
        match call {
            0 => assert_eq!(rows.create_new(&db.pool).await.unwrap().created, 3),
            1 => assert_eq!(rows.get_or_create(&db.pool).await.unwrap().len(), 3),
            _ => assert_eq!(rows.upsert(&db.pool).await.unwrap().updated, 3),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_an_error_in_the_stream_is_the_error_of_every_bulk_call() {
    let db = Fixture::with_connections(1).await;
    let line = |error: ImportError| match error {
        ImportError::Line(line) => line,
        ImportError::Database(error) => panic!("{error}"),
    };
    for good in [0, 1, 1_500] {
        let rows = || Retweet::bulk_stream(stream::iter(retweets(0..good).map(Ok).chain([Err(ImportError::Line(12))])));
        assert_eq!(line(rows().create_new(&db.pool).await.unwrap_err()), 12);
        assert_eq!(line(rows().get_or_create(&db.pool).await.unwrap_err()), 12);
        assert_eq!(line(rows().upsert(&db.pool).await.unwrap_err()), 12);
        db.assert_pool_clean("after an error in the stream").await;

        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        assert_eq!(line(rows().get_or_create(&mut tx).await.unwrap_err()), 12);
        assert_eq!(line(rows().upsert(&mut *tx).await.unwrap_err()), 12);
        Retweet::get_or_create(&mut tx, retweet(9, good)).await.unwrap();
        tx.commit().await.unwrap();
        db.assert_pool_clean("after an error in the stream in a transaction").await;
    }
    assert_eq!(db.numbers("SELECT DISTINCT tweet FROM retweets").await, [9]);
    // A failure of the call comes out as the stream's error type.
    let rows = stream::iter([Ok::<_, ImportError>(upsertable_tests::models::loose(1, 1))]);
    let error = upsertable_tests::models::Loose::bulk_stream(rows).get_or_create(&db.pool).await.unwrap_err();
    assert!(matches!(&error, ImportError::Database(error) if kind(error) == "MissingUniqueIndex"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_panic_in_the_rows_or_the_listener_leaves_nothing_in_any_bulk_call() {
    let db = Fixture::with_connections(1).await;
    for good in [0, 1, 1_500] {
        let rows = || retweets(0..=good).inspect(move |row| assert!(row.retweeter < good, "no row {good}"));
        let calls = [
            AssertUnwindSafe(Retweet::bulk_get_or_create(&db.pool, rows())).catch_unwind().await.map(drop),
            AssertUnwindSafe(Retweet::bulk_upsert(&db.pool, rows())).catch_unwind().await.map(drop),
        ];
        for panic in calls {
            assert_eq!(panic_text(&*panic.unwrap_err()), format!("no row {good}"));
        }
        db.assert_pool_clean("after a panic in the rows").await;
    }
    let rows = || Retweet::bulk(retweets(0..3)).on_progress(|_| panic!("no bar"));
    let panic = AssertUnwindSafe(rows().create_new(&db.pool)).catch_unwind().await.unwrap_err();
    assert_eq!(panic_text(&*panic), "no bar");
    db.assert_pool_clean("after a panic in the listener").await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    AssertUnwindSafe(rows().upsert(&mut tx)).catch_unwind().await.unwrap_err();
    assert_eq!(kind(&tx.commit().await.unwrap_err()), "Ended");
    db.assert_pool_clean("after a panic in the listener in a transaction").await;
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_calls_see_what_their_transaction_has_done_and_go_with_it() {
    let db = tables::fixture().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let made = Song::get_or_create(&mut tx, song("a", 1, "ann")).await.unwrap().row;
    let outcomes = Song::bulk_get_or_create(&mut *tx, [song("b", 2, "bob"), song("a", 2, "bob")]).await.unwrap();
    assert_eq!(outcomes.iter().map(|outcome| outcome.created).collect::<Vec<_>>(), [true, false]);
    assert_eq!(outcomes[1].row, made);
    let undone = tx.savepoint(async |tx| {
        let done = Song::bulk_upsert(&mut *tx, [song("a", 9, "x"), song("c", 9, "x")]).await?;
        assert_eq!((done.created, done.updated), (1, 1));
        Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
    });
    undone.await.unwrap_err();
    let done = Song::bulk_upsert(&mut tx, [song("a", 3, "x"), song("c", 3, "x")]).await.unwrap();
    assert_eq!((done.created, done.updated), (1, 1));
    tx.commit().await.unwrap();
    assert_eq!(db.numbers("SELECT score FROM songs ORDER BY name").await, [3, 2, 3]);

    let mut theirs = db.pool.begin().await.unwrap();
    assert_eq!(Song::bulk_get_or_create(&mut *theirs, [song("d", 4, "x"), song("a", 4, "x")]).await.unwrap().len(), 2);
    assert_eq!(Song::bulk_upsert(&mut *theirs, [song("a", 4, "x")]).await.unwrap().updated, 1);
    theirs.rollback().await.unwrap();
    assert_eq!(db.numbers("SELECT score FROM songs ORDER BY name").await, [3, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_transaction_of_plain_sql_is_never_committed_by_any_call() {
    let db = tables::fixture_of(1).await;
    let mut conn = db.pool.acquire().await.unwrap();
    for end in ["ROLLBACK", "COMMIT"] {
        sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
        Song::upsert(&mut *conn, song("a", 1, "x")).await.unwrap();
        Song::bulk_get_or_create(&mut *conn, [song("a", 2, "x"), song("b", 2, "x")]).await.unwrap();
        Song::bulk_upsert(&mut *conn, [song("b", 3, "x"), song("c", 3, "x")]).await.unwrap();
        let found = Song::find_all(&mut *conn, ["a", "b", "c"].map(tables::song_key)).await.unwrap();
        assert!(found.iter().all(Option::is_some));
        let bad = Song::bulk_upsert(&mut *conn, [song("d", 4, "x"), song("e", -4, "x")]).await.unwrap_err();
        assert_eq!(kind(&bad), "Sql");
        assert_eq!(db.count("songs").await, 0, "nothing is seen outside");
        sqlx::raw_sql(end).execute(&mut *conn).await.unwrap();
        Fixture::assert_clean(&mut conn, end).await;
    }
    assert_eq!(db.numbers("SELECT score FROM songs ORDER BY name").await, [1, 3, 3]);
}
