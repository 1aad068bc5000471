//! Many rows: `bulk_create_new`, `bulk_create_new_stream`.

use futures_util::{StreamExt as _, stream};
use tokio::{sync::oneshot, task::JoinSet};
use upsertable::{BulkCreated, Error, Upsertable as _, testing::statements};
use upsertable_tests::{
    LiveRows, TestDb as _,
    models::{
        Account, Counted, Loose, NewAccount, NewRetweet, Note, NoteKey, Retweet, Wide, Word, account, loose, note,
        retweet, wide,
    },
    race,
};

use super::{CALLERS, Fixture, ImportError, Subject, kind};

/// Retweets of one tweet by this many, from the first on.
fn retweets(tweet: i64, numbers: std::ops::Range<i64>) -> impl Iterator<Item = NewRetweet> + Clone + Send {
    numbers.map(move |number| retweet(tweet, number))
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_a_bad_row_at_the_end_leaves_nothing_of_the_call() {
    let db = Fixture::with_connections(1).await;
    let good = (0..2_500).map(|number| account(&format!("{number}@x"), &format!("{number}")));
    let rows = good.chain([NewAccount { age: -1, ..account("bad@x", "bad") }]);
    let error = Account::bulk_create_new(&db.pool, rows).await.unwrap_err();
    assert_eq!(kind(&error), "Sql");
    assert_eq!(db.count("accounts").await, 0);
    db.assert_pool_clean("after a failed call").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_inside_a_transaction_a_failed_call_undoes_itself_only() {
    let db = Fixture::new().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Account::get_or_create(&mut tx, account("before@x", "before")).await.unwrap();
    Account::bulk_create_new(&mut tx, [account("a@x", "a"), account("b@x", "b")]).await.unwrap();
    let bad = [account("c@x", "c"), account("d@x", "before")];
    assert_eq!(kind(&Account::bulk_create_new(&mut tx, bad).await.unwrap_err()), "OtherUnique");
    let inside: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(inside, 3);
    Account::bulk_create_new(&mut tx, [account("c@x", "c")]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.count("accounts").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_inside_a_transaction_a_call_is_undone_with_it() {
    let db = Fixture::new().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::bulk_create_new(&mut tx, retweets(1, 0..1_500)).await.unwrap();
    tx.rollback().await.unwrap();
    let mut theirs = db.pool.begin().await.unwrap();
    Retweet::bulk_create_new(&mut *theirs, retweets(1, 0..1_500)).await.unwrap();
    theirs.rollback().await.unwrap();
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_of_rows_with_one_key_the_first_wins() {
    let db = Fixture::new().await;
    let by = |retweeter, original_author| NewRetweet { tweet: 1, retweeter, original_author };
    Retweet::get_or_create(&db.pool, by(0, 7)).await.unwrap();
    // The second row of each key is more than a chunk behind the first, and the third comes in falling order.
    let rows = (0..12_000).map(|key| by(key, 1)).chain((0..12_000).map(|key| by(key, 2)));
    let done = Retweet::bulk_create_new(&db.pool, rows.chain((0..12_000).rev().map(|key| by(key, 3)))).await.unwrap();
    assert_eq!(done, BulkCreated { received: 36_000, created: 11_999 });
    assert_eq!(done.to_string(), "11999 of 36000 records added");
    assert_eq!(db.numbers("SELECT original_author FROM retweets WHERE retweeter = 0").await, [7]);
    assert_eq!(db.numbers("SELECT DISTINCT original_author FROM retweets WHERE retweeter > 0").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_neighbours_with_one_key_too() {
    let db = Fixture::new().await;
    let by = |original_author| NewRetweet { tweet: 1, retweeter: 1, original_author };
    for first in [3, 1, 2] {
        db.run("DELETE FROM retweets").await;
        let done = Retweet::bulk_create_new(&db.pool, [by(first), by(1), by(2), by(3)]).await.unwrap();
        assert_eq!(done, BulkCreated { received: 4, created: 1 });
        assert_eq!(db.numbers("SELECT original_author FROM retweets").await, [first]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_calls_over_the_same_keys_in_any_order_all_succeed() {
    const ROUNDS: i64 = 25;
    const KEYS: i64 = 300;
    let db = Fixture::new().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut created = 0;
        for round in 0..ROUNDS {
            let mut rows: Vec<NewRetweet> = retweets(round, 0..KEYS).collect();
            match caller % 4 {
                0 => {}
                1 => rows.reverse(),
                turn => rows.rotate_left((turn * 97 + round) as usize % KEYS as usize),
            }
            start.wait().await;
            let done = if caller < CALLERS / 2 {
                Retweet::bulk_create_new(&pool, rows).await
            } else {
                // A slow stream: the task gives way between rows.
                let slow = stream::iter(rows).then(|row| async {
                    tokio::task::yield_now().await;
                    row
                });
                Retweet::bulk_create_new_stream(&pool, slow).await
            };
            created += done.unwrap().created;
        }
        created
    })
    .await;
    let created: u64 = done.into_iter().sum();
    assert_eq!(created, (ROUNDS * KEYS) as u64);
    assert_eq!(db.count("retweets").await, ROUNDS * KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_among_single_rows_and_transactions_counts_are_exact_too() {
    const ROUNDS: i64 = 25;
    const KEYS: i64 = 40;
    let db = Fixture::new().await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let pool = db.pool.clone();
        callers.spawn(async move {
            let mut created = 0;
            for round in 0..ROUNDS {
                created += match caller % 3 {
                    0 => Retweet::bulk_create_new(&pool, retweets(round, 0..KEYS)).await.unwrap().created,
                    1 => {
                        let mut made = 0;
                        for key in (0..KEYS).step_by(7) {
                            made +=
                                u64::from(Retweet::get_or_create(&pool, retweet(round, key)).await.unwrap().created);
                        }
                        made
                    }
                    _ => in_transaction(&pool, round, KEYS).await,
                };
            }
            created
        });
    }
    let created: u64 = callers.join_all().await.into_iter().sum();
    assert_eq!(created, (ROUNDS * KEYS) as u64);
    assert_eq!(db.count("retweets").await, ROUNDS * KEYS);
}

/// Creates rows in a transaction, again while that may help.
///
/// The database says if it may.
async fn in_transaction(pool: &sqlx::Pool<super::Db>, tweet: i64, keys: i64) -> u64 {
    let once = async || -> Result<u64, Error> {
        let mut tx = upsertable::begin(pool).await?;
        let done = Retweet::bulk_create_new(&mut tx, retweets(tweet, 0..keys)).await?;
        tx.commit().await?;
        Ok(done.created)
    };
    loop {
        match once().await {
            Ok(created) => return created,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_any_number_of_rows() {
    let db = Fixture::new().await;
    let mut before = 0;
    for rows in [1, 2, 999, 1_000, 1_001, 2_500, 70_000] {
        let done = Retweet::bulk_create_new(&db.pool, retweets(1, 0..rows)).await.unwrap();
        assert_eq!(done, BulkCreated { received: rows as u64, created: (rows - before) as u64 });
        before = rows;
    }
    assert_eq!(db.count("retweets").await, 70_000);
    assert_eq!(db.number("SELECT count(*) FROM retweets WHERE original_author <> tweet * 1000 + retweeter").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_sixty_columns() {
    let db = Fixture::new().await;
    let done = Wide::bulk_create_new(&db.pool, (0..2_500).map(wide)).await.unwrap();
    assert_eq!(done, BulkCreated { received: 2_500, created: 2_500 });
    for key in [0, 545, 546, 547, 2_499] {
        let found = Wide::find(&db.pool, wide(key).key()).await.unwrap();
        assert_eq!(found, Some(wide(key)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_one_column() {
    let db = Fixture::new().await;
    let words = (0..5_000).map(|number| Word { word: format!("word {}", number % 4_000) });
    let done = Word::bulk_create_new(&db.pool, words).await.unwrap();
    assert_eq!(done, BulkCreated { received: 5_000, created: 4_000 });
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_null_goes_where_it_may() {
    let db = Fixture::new().await;
    let parent = Account::get_or_create(&db.pool, account("a@x", "a")).await.unwrap().row.id;
    let rows = (0..1_500).map(|number| {
        let mut row = note(&format!("{number}"));
        row.account = (number % 2 == 0).then_some(parent);
        row
    });
    Note::bulk_create_new(&db.pool, rows).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM notes WHERE account IS NULL").await, 750);
    let found = Note::find(&db.pool, NoteKey { slug: "1498".into() }).await.unwrap().unwrap();
    assert_eq!(found.account, Some(parent));
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_rows_are_sent_as_they_are_read_and_never_collected() {
    let db = Fixture::new().await;
    let rows = (0..20_000).map(|number| Counted { k: LiveRows::new(number) });
    let done = Counted::bulk_create_new(&db.pool, rows).await.unwrap();
    assert_eq!(done.created, 20_000);
    let rows = stream::iter((0..20_000).map(|number| Counted { k: LiveRows::new(number) }));
    Counted::bulk_create_new_stream(&db.pool, rows).await.unwrap();
    assert!(LiveRows::most() <= 2_000, "{} rows were in memory at once", LiveRows::most());
}

/// A stream that pauses after its first chunks.
///
/// It ends them, says so, and goes on when it is let.
fn gated(staged: oneshot::Sender<()>, gate: oneshot::Receiver<()>) -> impl stream::Stream<Item = NewRetweet> + Send {
    let opened = stream::once(async move {
        // Whoever polls for this row has sent the full chunks before it.
        staged.send(()).unwrap();
        gate.await.unwrap();
        retweet(2, 0)
    });
    stream::iter(retweets(1, 0..25_000)).chain(opened).chain(stream::iter(retweets(3, 0..500)))
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_slow_stream_on_a_pool_blocks_nobody() {
    let db = Fixture::new().await;
    let ((staged, is_staged), (open, gate)) = (oneshot::channel(), oneshot::channel());
    let pool = db.pool.clone();
    let call = tokio::spawn(async move { Retweet::bulk_create_new_stream(&pool, gated(staged, gate)).await });
    is_staged.await.unwrap();
    db.run("INSERT INTO retweets (tweet, retweeter, original_author) VALUES (1, 3, 99)").await;
    assert!(Retweet::get_or_create(&db.pool, retweet(3, 4)).await.unwrap().created);
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&mut tx, retweets(4, 0..10)).await.unwrap().created, 10);
    tx.commit().await.unwrap();
    open.send(()).unwrap();
    let done = call.await.unwrap().unwrap();
    assert_eq!(done, BulkCreated { received: 25_501, created: 25_499 });
    assert_eq!(db.number("SELECT original_author FROM retweets WHERE tweet = 1 AND retweeter = 3").await, 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_slow_stream_on_a_connection_blocks_nobody() {
    let db = Fixture::new().await;
    let ((staged, is_staged), (open, gate)) = (oneshot::channel(), oneshot::channel());
    let mut conn = db.pool.acquire().await.unwrap();
    let call = tokio::spawn(async move { Retweet::bulk_create_new_stream(&mut *conn, gated(staged, gate)).await });
    is_staged.await.unwrap();
    db.run("INSERT INTO retweets (tweet, retweeter, original_author) VALUES (1, 3, 99)").await;
    open.send(()).unwrap();
    let done = call.await.unwrap().unwrap();
    assert_eq!(done, BulkCreated { received: 25_501, created: 25_500 });
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_the_first_row_is_awaited_before_a_connection_is_taken() {
    let db = Fixture::with_connections(1).await;
    let mut held = Some(db.pool.acquire().await.unwrap());
    // The only connection comes free when the first row is asked for, and so must not be waited for before.
    let rows = stream::iter(retweets(1, 0..3)).inspect(move |_| drop(held.take()));
    let done = Retweet::bulk_create_new_stream(&db.pool, rows).await.unwrap();
    assert_eq!(done.created, 3);

    let mut held = Some(db.pool.acquire().await.unwrap());
    let rows = retweets(2, 0..3).inspect(move |_| drop(held.take()));
    assert_eq!(Retweet::bulk_create_new(&db.pool, rows).await.unwrap().created, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_no_rows_need_no_connection() {
    let db = Fixture::with_connections(1).await;
    let held = db.pool.acquire().await.unwrap();
    let done = Retweet::bulk_create_new(&db.pool, Vec::new()).await.unwrap();
    assert_eq!(done, BulkCreated::default());
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_all_rows_existing_is_a_normal_result() {
    let db = Fixture::new().await;
    Retweet::bulk_create_new(&db.pool, retweets(1, 0..1_500)).await.unwrap();
    let done = Retweet::bulk_create_new(&db.pool, retweets(1, 0..1_500)).await.unwrap();
    assert_eq!(done, BulkCreated { received: 1_500, created: 0 });
    assert_eq!(done.to_string(), "0 of 1500 records added");
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_the_merge_never_reads_the_whole_target() {
    let db = Fixture::new().await;
    let (_, one_key) = statements(Retweet::bulk_create_new(&db.pool, retweets(1, 0..2))).await;
    let (_, of_text) = statements(Account::bulk_create_new(&db.pool, [account("a@x", "a"), account("b@x", "b")])).await;
    db.run("DELETE FROM retweets").await;
    db.run("DELETE FROM accounts").await;
    // The worst that a planner can know: nothing, then that the table is empty, then that it was when the table has grown.
    for (state, sql) in [("never analysed", ""), ("analysed when empty", "ANALYZE"), ("grown since", "grow")] {
        match sql {
            "grow" => drop(Retweet::bulk_create_new(&db.pool, retweets(1, 0..5_000)).await.unwrap()),
            "" => {}
            analyze => {
                for table in ["retweets", "accounts"] {
                    db.run(&format!("{analyze} {table}")).await;
                }
            }
        }
        let pool = db.another_pool(1).await;
        let mut conn = pool.acquire().await.unwrap();
        for (statements, table) in [(&one_key, "retweets"), (&of_text, "accounts")] {
            let plan = Subject::merge_plan(&mut conn, statements, table).await;
            assert!(!plan.scans_target, "{state}, {table}:\n{}", plan.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_an_error_in_the_stream_is_the_error_of_the_call_and_nothing_is_left() {
    let db = Fixture::with_connections(1).await;
    for good in [0, 1, 1_500] {
        let rows = || stream::iter(retweets(1, 0..good).map(Ok).chain([Err(ImportError::Line(12))]));
        let error = Retweet::bulk_create_new_stream(&db.pool, rows()).await.unwrap_err();
        assert!(matches!(error, ImportError::Line(12)), "{error}");
        db.assert_pool_clean("after an error in the stream").await;

        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(50, good)).await.unwrap();
        let error = Retweet::bulk_create_new_stream(&mut tx, rows()).await.unwrap_err();
        assert!(matches!(error, ImportError::Line(12)), "{error}");
        tx.commit().await.unwrap();
        db.assert_pool_clean("after an error in the stream in a transaction").await;

        let mut conn = db.pool.acquire().await.unwrap();
        Retweet::bulk_create_new_stream(&mut *conn, rows()).await.unwrap_err();
        Fixture::assert_clean(&mut conn, "after an error in the stream on a connection").await;
    }
    assert_eq!(db.number("SELECT count(*) FROM retweets WHERE tweet = 1").await, 0);
    assert_eq!(db.count("retweets").await, 3, "what the transactions did before is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_stream_whose_error_is_ours_can_be_given_too() {
    let db = Fixture::new().await;
    let rows = stream::iter(retweets(1, 0..3).map(Ok::<_, Error>));
    assert_eq!(Retweet::bulk_create_new_stream(&db.pool, rows).await.unwrap().created, 3);
    // The other way round: a failure of the call comes out as the user's error.
    let rows = stream::iter([Ok::<_, ImportError>(loose(1, 1))]);
    let error = Loose::bulk_create_new_stream(&db.pool, rows).await.unwrap_err();
    assert!(matches!(&error, ImportError::Database(error) if kind(error) == "MissingUniqueIndex"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_without_the_unique_index_nothing_is_written() {
    let partial: &[&str] =
        if Subject::PARTIAL_INDEXES { &["CREATE UNIQUE INDEX wrong ON loose (a, b) WHERE label = 'x'"] } else { &[] };
    let wrong = [
        "",
        "CREATE INDEX wrong ON loose (a, b)",
        "CREATE UNIQUE INDEX wrong ON loose (a, b, id)",
        "CREATE UNIQUE INDEX wrong ON loose (b)",
    ];
    for index in wrong.iter().chain(partial) {
        let db = Fixture::with_connections(1).await;
        if !index.is_empty() {
            db.run(index).await;
        }
        for rows in [0, 1] {
            if rows == 1 {
                db.run("INSERT INTO loose (a, b, label) VALUES (9, 9, 'x')").await;
            }
            let bulk = Loose::bulk_create_new(&db.pool, [loose(1, 1), loose(1, 2)]).await.unwrap_err();
            let single = Loose::get_or_create(&db.pool, loose(1, 1)).await.unwrap_err();
            for error in [bulk, single] {
                assert_eq!(kind(&error), "MissingUniqueIndex", "{index}: {error}");
                let text = error.to_string();
                assert!(text.starts_with("Loose::") && text.contains("CREATE UNIQUE INDEX"), "{text}");
            }
            assert_eq!(db.count("loose").await, rows, "{index}");
            db.assert_pool_clean(index).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_the_statement_that_the_error_names_makes_the_call_work() {
    let db = Fixture::new().await;
    let error = Loose::bulk_create_new(&db.pool, [loose(1, 1)]).await.unwrap_err();
    let Error::MissingUniqueIndex { create, .. } = error else { panic!("{error}") };
    db.run(&create).await;
    assert_eq!(Loose::bulk_create_new(&db.pool, [loose(1, 1), loose(1, 1)]).await.unwrap().created, 1);
    assert!(!Loose::get_or_create(&db.pool, loose(1, 1)).await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_an_index_with_the_columns_in_another_order_will_do() {
    let db = Fixture::new().await;
    db.run("CREATE UNIQUE INDEX other_order ON loose (b, a)").await;
    assert_eq!(Loose::bulk_create_new(&db.pool, [loose(1, 2), loose(2, 1), loose(1, 2)]).await.unwrap().created, 2);
    assert!(!Loose::get_or_create(&db.pool, loose(2, 1)).await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_an_error_of_the_database() {
    let db = Fixture::with_connections(1).await;
    db.run("DROP TABLE words").await;
    let new = || Word { word: "x".into() };
    assert_eq!(kind(&Word::get_or_create(&db.pool, new()).await.unwrap_err()), "Sql");
    let bulk = Word::bulk_create_new(&db.pool, [new()]).await.unwrap_err();
    assert_eq!(kind(&bulk), "Sql", "the table is what is missing, and not its index: {bulk}");
    db.assert_pool_clean("after a missing table").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_is_an_error_of_the_pool() {
    let db = Fixture::new().await;
    db.pool.close().await;
    let single = Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap_err();
    let bulk = Retweet::bulk_create_new(&db.pool, [retweet(1, 1)]).await.unwrap_err();
    let begun = upsertable::begin(&db.pool).await.map(drop).unwrap_err();
    for error in [single, bulk, begun] {
        assert!(matches!(error, Error::Sql(sqlx::Error::PoolClosed)), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(Retweet::bulk_create_new(&db.pool, []).await.unwrap(), BulkCreated::default());
}
