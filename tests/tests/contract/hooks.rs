//! Hooks on created rows: `Model::after_commit`, `Hooks`, `begin_with`.

use std::sync::{Arc, Mutex};

use futures_util::stream;
use upsertable::{Error, Hooks, On, Registry, TransactionOptions, Upsertable as _, testing};
use upsertable_tests::{
    TestDb as _, at_every_poll,
    models::{Account, NewRetweet, Retweet, RetweetKey, Word, account, retweet},
};

use super::{
    Db, Fixture, Subject, kind,
    tables::{self, Song, song},
};

/// Rows given to a hook, in short, by call.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Vec<String>>>>);

impl Seen {
    fn calls(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, rows: impl Iterator<Item = String>) {
        self.0.lock().unwrap().push(rows.collect());
    }

    /// Registers a hook on retweets that notes their retweeters.
    fn retweets(&self, registry: &mut impl Registry) {
        let seen = self.clone();
        Retweet::after_commit(registry, async move |rows: Arc<[Retweet]>| {
            seen.note(rows.iter().map(|row| row.retweeter.to_string()));
        });
    }

    /// Registers a hook that notes songs' names and scores.
    fn songs(&self, registry: &mut impl Registry) {
        let seen = self.clone();
        Song::after_commit(registry, async move |rows: Arc<[Song]>| {
            seen.note(rows.iter().map(|row| format!("{} {}", row.name, row.score)));
        });
    }
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_hook_sees_what_every_call_creates_and_nothing_that_was_found() {
    let db = Fixture::new().await;
    Retweet::bulk_create_new(&db.pool, [retweet(1, 100), retweet(1, 101)]).await.unwrap();
    let seen = Seen::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    seen.retweets(&mut tx);
    let key = |retweeter| RetweetKey { tweet: 1, retweeter };
    let rows = |retweeters: [i64; 3]| retweeters.map(|retweeter| retweet(1, retweeter));

    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    Retweet::get_or_create(&mut *tx, retweet(1, 2)).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 100)).await.unwrap();
    Retweet::get_or_create_with(&mut tx, key(3), async || Ok::<_, Error>(retweet(1, 3))).await.unwrap();
    Retweet::get_or_create_with(&mut *tx, key(3), async || Ok::<_, Error>(retweet(1, 3))).await.unwrap();
    Retweet::upsert(&mut tx, retweet(1, 5)).await.unwrap();
    Retweet::upsert(&mut *tx, retweet(1, 4)).await.unwrap();
    Retweet::upsert(&mut tx, retweet(1, 101)).await.unwrap();
    Retweet::bulk_create_new(&mut tx, rows([7, 6, 7])).await.unwrap();
    Retweet::bulk_create_new_stream(&mut *tx, stream::iter(rows([100, 9, 8]))).await.unwrap();
    Retweet::bulk_get_or_create(&mut tx, rows([11, 10, 11])).await.unwrap();
    Retweet::bulk_get_or_create(&mut *tx, rows([11, 101, 1])).await.unwrap();
    Retweet::bulk_upsert(&mut tx, rows([13, 12, 13])).await.unwrap();
    Retweet::bulk(rows([13, 14, 15])).upsert(&mut *tx).await.unwrap();
    Retweet::find(&mut tx, key(1)).await.unwrap();
    Retweet::find_all(&mut tx, [key(1), key(2)]).await.unwrap();

    assert_eq!(seen.calls(), Vec::<Vec<String>>::new(), "nothing is told before the commit");
    assert!(tx.commit().await.unwrap().failures().is_empty());
    let expected = ["1", "2", "3", "5", "4", "7", "6", "9", "8", "11", "10", "13", "12", "14", "15"];
    assert_eq!(seen.calls(), [texts(expected)], "once, in the order created");
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_the_rows_are_those_of_the_table() {
    let db = tables::fixture().await;
    let given = Arc::new(Mutex::new(Vec::new()));
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let told = Arc::clone(&given);
    Song::after_commit(&mut tx, move |rows: Arc<[Song]>| {
        let told = Arc::clone(&told);
        async move { told.lock().unwrap().extend(rows.iter().cloned()) }
    });
    Song::get_or_create(&mut tx, song("a", 1, "one")).await.unwrap();
    Song::bulk_create_new(&mut tx, (0..30).map(|number| song(&format!("b {number}"), number, "two"))).await.unwrap();
    // Of a new key that comes twice, the row that is told has the last values.
    Song::bulk_upsert(&mut tx, [song("c", 1, "three"), song("a", 9, "x"), song("c", 2, "four")]).await.unwrap();
    tx.commit().await.unwrap();
    let given = given.lock().unwrap().clone();
    assert_eq!(given.len(), 32);
    for row in &given {
        let in_table = Song::find(&db.pool, row.key()).await.unwrap().unwrap();
        assert_eq!((row.id, &row.name, &row.added_by), (in_table.id, &in_table.name, &in_table.added_by));
        if row.name != "a" {
            assert_eq!(*row, in_table);
        }
    }
    assert_eq!((given[31].name.as_str(), given[31].score, given[31].added_by.as_str()), ("c", 2, "three"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_hook_is_called_once_for_a_transaction_and_not_at_all_where_nothing_was_created() {
    let db = tables::fixture().await;
    Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap();
    let (retweets, songs, again) = (Seen::default(), Seen::default(), Seen::default());
    let mut hooks = Hooks::new();
    retweets.retweets(&mut hooks);
    songs.songs(&mut hooks);
    again.retweets(&mut hooks);

    let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    Retweet::bulk_create_new(&mut tx, [retweet(1, 1)]).await.unwrap();
    Retweet::bulk_upsert(&mut tx, [retweet(1, 1)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((retweets.calls().len(), songs.calls().len(), again.calls().len()), (0, 0, 0));

    let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
    for number in 2..5 {
        Retweet::get_or_create(&mut tx, retweet(1, number)).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(retweets.calls(), [texts(["2", "3", "4"])]);
    assert_eq!(again.calls(), [texts(["2", "3", "4"])], "each hook on a model gets all of its rows");
    assert_eq!(songs.calls().len(), 0, "none was created");

    let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
    Song::upsert(&mut tx, song("Naima", 1, "x")).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 5)).await.unwrap();
    Song::upsert(&mut tx, song("Naima", 2, "x")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(songs.calls(), [texts(["Naima 1"])], "the row as the call gave it");
    assert_eq!(retweets.calls().len(), 2, "a hook is for every transaction begun with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_rows_of_an_undone_savepoint_are_not_told() {
    let db = Fixture::new().await;
    let seen = Seen::default();
    let mut hooks = Hooks::new();
    seen.retweets(&mut hooks);
    let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let outer = tx.savepoint(async |tx| {
        Retweet::get_or_create(&mut *tx, retweet(1, 2)).await?;
        let inner = tx.savepoint(async |tx| {
            Retweet::bulk_create_new(&mut *tx, [retweet(1, 3), retweet(1, 4)]).await?;
            Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
        });
        inner.await.unwrap_err();
        // Rows of an undone savepoint are created by whoever creates them again.
        Retweet::get_or_create(&mut *tx, retweet(1, 4)).await.map(drop)
    });
    outer.await.unwrap();
    let undone = tx.savepoint(async |tx| {
        tx.savepoint(async |tx| Retweet::bulk_get_or_create(tx, [retweet(1, 5)]).await).await?;
        Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
    });
    undone.await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(seen.calls(), [texts(["1", "2", "4"])]);
    assert_eq!(db.numbers("SELECT retweeter FROM retweets ORDER BY 1").await, [1, 2, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_hook_registered_in_an_undone_savepoint_goes_with_it() {
    let db = Fixture::new().await;
    let (kept, undone) = (Seen::default(), Seen::default());
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    kept.retweets(&mut tx);
    let savepoint = tx.savepoint(async |tx| {
        undone.retweets(&mut *tx);
        Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
        Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
    });
    savepoint.await.unwrap_err();
    Retweet::get_or_create(&mut tx, retweet(1, 2)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((kept.calls(), undone.calls()), (vec![texts(["2"])], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_call_that_failed_has_created_nothing() {
    let db = Fixture::new().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let told = Arc::clone(&seen);
    Account::after_commit(&mut tx, async move |rows: Arc<[Account]>| {
        told.lock().unwrap().extend(rows.iter().map(|row| row.handle.clone()));
    });
    Account::get_or_create(&mut tx, account("a@x", "a")).await.unwrap();
    let bad = || [account("b@x", "b"), account("c@x", "a")];
    Account::bulk_create_new(&mut tx, bad()).await.unwrap_err();
    Account::bulk_get_or_create(&mut tx, bad()).await.unwrap_err();
    Account::bulk_upsert(&mut tx, bad()).await.unwrap_err();
    Account::get_or_create(&mut tx, account("d@x", "a")).await.unwrap_err();
    Account::upsert(&mut tx, account("d@x", "a")).await.unwrap_err();
    Account::get_or_create(&mut tx, account("e@x", "e")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), texts(["a", "e"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_nothing_is_fetched_where_nobody_asked() {
    let db = Fixture::new().await;
    let seen = Seen::default();
    let mut counts = Vec::new();
    for (number, register) in (0..).zip([None, Some("words"), Some("retweets")]) {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        match register {
            Some("words") => Word::after_commit(&mut tx, async |_: Arc<[Word]>| {}),
            Some(_) => seen.retweets(&mut tx),
            None => {}
        }
        let (done, create) =
            testing::statements(Retweet::bulk_create_new(&mut tx, (0..100).map(|row| retweet(number * 2, row)))).await;
        done.unwrap();
        let (done, single) = testing::statements(Retweet::get_or_create(&mut tx, retweet(number * 2, 100))).await;
        done.unwrap();
        let (done, upsert) =
            testing::statements(Retweet::bulk_upsert(&mut tx, (0..100).map(|row| retweet(number * 2 + 1, row)))).await;
        done.unwrap();
        counts.push([create.len(), single.len(), upsert.len()]);
        tx.commit().await.unwrap();
    }
    assert_eq!(counts[0], counts[1], "a hook on another model costs nothing");
    let [without, _, with] = counts[..] else { panic!("{counts:?}") };
    assert!(with[0] > without[0] && with[1] == without[1] && with[2] > without[2], "{counts:?}");
    assert_eq!(seen.calls()[0].len(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_hooks_and_callbacks_run_in_the_order_registered() {
    let db = Fixture::new().await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let line = |text: &'static str| {
        let lines = Arc::clone(&lines);
        async move { lines.lock().unwrap().push(text) }
    };
    let mut hooks = Hooks::new();
    let first = line("hook of many");
    let shared = Arc::new(Mutex::new(Some(first)));
    Retweet::after_commit(&mut hooks, async move |_: Arc<[Retweet]>| {
        let first = shared.lock().unwrap().take();
        if let Some(first) = first {
            first.await;
        }
    });
    let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
    tx.on_commit(line("callback"));
    let own = Arc::clone(&lines);
    Retweet::after_commit(&mut tx, async move |_: Arc<[Retweet]>| own.lock().unwrap().push("hook of this one"));
    tx.on_commit(line("last callback"));
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(*lines.lock().unwrap(), ["hook of many", "callback", "hook of this one", "last callback"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_hook_that_fails_or_panics_is_told_and_stops_no_other() {
    let db = Fixture::new().await;
    let seen = Seen::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::after_commit(&mut tx, async |rows: Arc<[Retweet]>| {
        Err::<(), _>(std::io::Error::other(format!("{} rows and no queue", rows.len())))
    });
    Retweet::after_commit(&mut tx, async |rows: Arc<[Retweet]>| assert!(rows.is_empty(), "no luck"));
    seen.retweets(&mut tx);
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let committed = tx.commit().await.unwrap();
    let failures: Vec<String> = committed.failures().iter().map(ToString::to_string).collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert_eq!(failures[0], "1 rows and no queue");
    assert!(failures[1].contains("no luck"), "{failures:?}");
    assert_eq!(seen.calls(), [texts(["1"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_hook_may_open_transactions_on_a_pool_of_one_connection() {
    let db = Fixture::with_connections(1).await;
    let pool = db.pool.clone();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::after_commit(&mut tx, async move |rows: Arc<[Retweet]>| {
        let mut tx = upsertable::begin(&pool).await?;
        for row in &*rows {
            Word::get_or_create(&mut tx, Word { word: format!("{} was new", row.retweeter) }).await?;
        }
        tx.commit().await.map(drop)
    });
    Retweet::bulk_create_new(&mut tx, (0..3).map(|number| retweet(1, number))).await.unwrap();
    assert!(tx.commit().await.unwrap().failures().is_empty());
    assert_eq!(db.count("words").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_transaction_that_is_not_committed_tells_no_hook() {
    let db = Fixture::with_connections(1).await;
    let seen = Seen::default();
    let mut hooks = Hooks::new();
    seen.retweets(&mut hooks);
    for end in ["rollback", "drop", "spoiled"] {
        let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
        Retweet::bulk_create_new(&mut tx, (0..3).map(|number| retweet(1, number))).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, 7)).await.unwrap();
        match end {
            "rollback" => tx.rollback().await.unwrap(),
            "drop" => drop(tx),
            _ => {
                Subject::spoil(&mut tx, &db.outside).await;
                let error = tx.commit().await.unwrap_err();
                assert!(matches!(kind(&error), "Ended" | "RolledBack"), "{error}");
            }
        }
        db.assert_pool_clean(end).await;
    }
    // The hooks of another transaction have nothing of those before.
    let mut tx = upsertable::begin_with(&db.pool, &hooks).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 8)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(seen.calls(), [texts(["8"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_dropping_the_commit_future_loses_no_hook() {
    let db = Fixture::with_connections(1).await;
    let mut number = 0;
    at_every_poll(3, async |cut| {
        number += 1;
        let (told, tells) = tokio::sync::oneshot::channel();
        let told = Arc::new(Mutex::new(Some(told)));
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::after_commit(&mut tx, async move |rows: Arc<[Retweet]>| {
            told.lock().unwrap().take().unwrap().send(rows.len()).unwrap();
        });
        Retweet::get_or_create(&mut tx, retweet(1, number)).await.unwrap();
        let done = cut.short(tx.commit()).await;
        let rows = tells.await.unwrap_or_else(|_| panic!("commit {cut}: the hook was lost"));
        assert_eq!(rows, 1);
        done.map(|done| assert!(done.unwrap().failures().is_empty())).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_racing_transactions_tell_each_created_row_once() {
    const ROUNDS: i64 = 40;
    const KEYS: i64 = 5;
    let db = Fixture::new().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut hooks = Hooks::new();
    let notes = Arc::clone(&told);
    Retweet::after_commit(&mut hooks, async move |rows: Arc<[Retweet]>| {
        notes.lock().unwrap().extend(rows.iter().map(|row| row.id));
    });
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..super::CALLERS {
        let (pool, hooks) = (db.pool.clone(), hooks.clone());
        callers.spawn(async move {
            for round in 0..ROUNDS {
                let rows = (0..KEYS).map(|key| retweet(round, (key + caller) % KEYS));
                let work = async |tx: &mut upsertable::Transaction<Db>| {
                    if caller % 2 == 0 {
                        for row in rows.clone() {
                            Retweet::get_or_create(&mut *tx, row).await?;
                        }
                    } else {
                        Retweet::bulk_create_new(&mut *tx, rows.clone()).await?;
                    }
                    Ok::<_, Error>(())
                };
                TransactionOptions::new().hooks(&hooks).attempts(100).run(&pool, work).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let mut told = told.lock().unwrap().clone();
    told.sort_unstable();
    assert_eq!(told, db.numbers("SELECT id FROM retweets ORDER BY id").await);
    assert_eq!(told.len() as i64, ROUNDS * KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_hooks_come_with_options_too_and_can_be_captured() {
    let db = Fixture::new().await;
    let seen = Seen::default();
    let mut hooks = Hooks::new();
    seen.retweets(&mut hooks);
    let mut tx = TransactionOptions::new().hooks(&hooks).begin(&db.pool).await.unwrap();
    assert_eq!(testing::capture(&mut tx).len(), 0, "no rows, nothing to tell");
    tx.rollback().await.unwrap();

    let mut tx = TransactionOptions::new().hooks(&hooks).begin(&db.pool).await.unwrap();
    Retweet::bulk_create_new(&mut tx, [retweet(1, 1), retweet(1, 2)]).await.unwrap();
    tx.on_commit(async {});
    let captured = testing::capture(&mut tx);
    assert_eq!(captured.len(), 2);
    assert!(captured.run().await.failures().is_empty());
    assert_eq!(seen.calls(), [texts(["1", "2"])], "without a commit");
    assert!(tx.commit().await.unwrap().failures().is_empty());
    assert_eq!(seen.calls().len(), 1, "what was taken out is not the transaction's any more");
}

/// Registers a hook as a library does.
///
/// It knows neither the database nor the model.
fn announce<DB: upsertable::Backend, M: On<DB> + Clone>(registry: &mut impl Registry, count: &Arc<Mutex<usize>>) {
    let count = Arc::clone(count);
    M::after_commit(registry, async move |rows: Arc<[M]>| *count.lock().unwrap() += rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_work_in_functions_generic_over_database_and_model_and_in_tasks() {
    let db = Fixture::new().await;
    let count = Arc::new(Mutex::new(0));
    let mut hooks = Hooks::new();
    announce::<Db, Retweet>(&mut hooks, &count);
    let (pool, more) = (db.pool.clone(), Arc::clone(&count));
    let task = tokio::spawn(async move {
        let mut tx = upsertable::begin_with(&pool, &hooks).await?;
        announce::<Db, Word>(&mut tx, &more);
        announce::<Db, Word>(&mut *tx, &more);
        Retweet::bulk_create_new(&mut tx, (0..5).map(|number| NewRetweet { original_author: 1, ..retweet(1, number) }))
            .await?;
        Word::get_or_create(&mut tx, Word { word: "one".into() }).await?;
        tx.commit().await
    });
    assert!(task.await.unwrap().unwrap().failures().is_empty());
    assert_eq!(*count.lock().unwrap(), 5 + 2);
}
