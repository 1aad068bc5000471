//! One row: `get_or_create`, `get_or_create_with`, `find`.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use sqlx::Database as _;
use tokio::task::JoinSet;
use upsertable::{Error, Outcome, Upsertable as _};
use upsertable_tests::{
    TestDb as _,
    models::{
        Account, AccountHandleKey, AccountIdKey, Loose, LooseKey, NewAccount, NewNote, NewRetweet, NewSetting, Note,
        NoteKey, Retweet, RetweetKey, Setting, SettingKey, Tag, TagKey, account, by_email, loose, note, retweet, tag,
    },
    race,
};

use super::{CALLERS, Db, Fixture, Given, Subject, assert_created_once, kind, plain};

#[tokio::test(flavor = "multi_thread")]
async fn r1_of_racing_callers_one_creates_the_row_and_all_get_it() {
    const ROUNDS: i64 = 2_000;
    const KEYS: i64 = 3;
    let db = Fixture::new().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut given = Vec::new();
        for round in 0..ROUNDS {
            start.wait().await;
            for key in (0..KEYS).map(|key| (round, (key + caller) % KEYS)) {
                let Outcome { row, created } = Retweet::get_or_create(&pool, retweet(key.0, key.1)).await.unwrap();
                assert_eq!((row.tweet, row.retweeter), key);
                given.push(Given { key, id: row.id, created });
            }
        }
        given
    })
    .await;
    let given = done.into_iter().flatten();
    assert_created_once(given, (ROUNDS * KEYS) as usize);
    assert_eq!(db.count("retweets").await, ROUNDS * KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_holds_for_callers_in_transactions() {
    const ROUNDS: i64 = 200;
    const KEYS: i64 = 3;
    let db = Fixture::new().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut given = Vec::new();
        for round in 0..ROUNDS {
            start.wait().await;
            let keys = (0..KEYS).map(|key| (round, (key + caller) % KEYS));
            let once = async || -> Result<Vec<Given>, Error> {
                let mut tx = upsertable::begin(&pool).await?;
                let mut given = Vec::new();
                for key in keys.clone() {
                    let Outcome { row, created } = Retweet::get_or_create(&mut tx, retweet(key.0, key.1)).await?;
                    given.push(Given { key, id: row.id, created });
                }
                tx.commit().await?;
                Ok(given)
            };
            loop {
                match once().await {
                    Ok(done) => break given.extend(done),
                    // The keys come in another order from each caller: a database with row locks may end a transaction for that.
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        }
        given
    })
    .await;
    let given = done.into_iter().flatten();
    assert_created_once(given, (ROUNDS * KEYS) as usize);
    assert_eq!(db.count("retweets").await, ROUNDS * KEYS);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_holds_for_get_or_create_with() {
    const ROUNDS: i64 = 200;
    let db = Fixture::new().await;
    let done = race(&db.pool, 0..CALLERS, move |_, pool, start| async move {
        let mut given = Vec::new();
        for round in 0..ROUNDS {
            start.wait().await;
            let key = RetweetKey { tweet: round, retweeter: 7 };
            let make = async || {
                tokio::task::yield_now().await;
                Ok::<_, Error>(retweet(round, 7))
            };
            let Outcome { row, created } = Retweet::get_or_create_with(&pool, key, make).await.unwrap();
            given.push(Given { key: (row.tweet, row.retweeter), id: row.id, created });
        }
        given
    })
    .await;
    assert_created_once(done.into_iter().flatten(), ROUNDS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_holds_while_others_delete_the_row() {
    const ROUNDS: i64 = 300;
    let db = Fixture::new().await;
    let (created, deleted) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..CALLERS {
        let (pool, created, deleted) = (db.pool.clone(), Arc::clone(&created), Arc::clone(&deleted));
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                if task % 4 == 0 {
                    match sqlx::query("DELETE FROM retweets").execute(&pool).await {
                        Ok(gone) => drop(deleted.fetch_add(gone.rows_affected().cast_signed(), Ordering::SeqCst)),
                        // Plain sqlx does not try again.
                        Err(error) => assert!(Error::from(error).is_retryable()),
                    }
                } else {
                    let outcome = Retweet::get_or_create(&pool, retweet(1, round % 2)).await.unwrap();
                    created.fetch_add(i64::from(outcome.created), Ordering::SeqCst);
                }
            }
        });
    }
    tasks.join_all().await;
    let left = db.count("retweets").await;
    assert_eq!(created.load(Ordering::SeqCst), deleted.load(Ordering::SeqCst) + left);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_transaction_that_has_read_absent_gets_the_row_or_a_retryable_error() {
    let db = Fixture::new().await;
    let mut theirs = db.pool.begin().await.unwrap();
    let before: Vec<i64> = sqlx::query_scalar("SELECT id FROM retweets").fetch_all(&mut *theirs).await.unwrap();
    assert_eq!(before, Vec::<i64>::new());
    let winner = Retweet::get_or_create(&db.pool, retweet(1, 2)).await.unwrap();
    assert!(winner.created);

    match Retweet::get_or_create(&mut *theirs, retweet(1, 2)).await {
        Ok(outcome) => assert_eq!(outcome, Outcome { row: winner.row, created: false }),
        Err(error) => {
            assert!(error.is_retryable(), "{error}");
            assert!(!error.is_unique_violation(), "{error}");
        }
    }
    theirs.rollback().await.unwrap();
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_long_writer_delays_callers_on_a_pool_and_fails_none() {
    let db = Fixture::new().await;
    let mut long = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut long, retweet(1, 1)).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS - 1 {
        let pool = db.pool.clone();
        callers.spawn(async move { Retweet::get_or_create(&pool, retweet(1, caller % 2)).await.unwrap() });
    }
    // The callers have had the time to begin; whether they have or not, they end well.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    long.commit().await.unwrap();
    let created = callers.join_all().await.iter().filter(|outcome| outcome.created).count();
    assert_eq!(created, 1, "the row of the long writer is found, the other is made once");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_no_id_is_used_up_for_a_row_that_is_found() {
    let db = Fixture::new().await;
    let first = Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap().row.id;
    for _ in 0..100 {
        assert!(!Retweet::get_or_create(&db.pool, retweet(1, 1)).await.unwrap().created);
        let key = RetweetKey { tweet: 1, retweeter: 1 };
        let found = Retweet::get_or_create_with(&db.pool, key, async || Ok::<_, Error>(retweet(1, 1))).await.unwrap();
        assert!(!found.created);
    }
    let second = Retweet::get_or_create(&db.pool, retweet(1, 2)).await.unwrap().row.id;
    assert_eq!(second, first + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_bulk_uses_up_no_id_for_rows_that_are_found_or_come_twice() {
    let db = Fixture::new().await;
    let rows = || (0..500).map(|number| retweet(1, number % 250));
    Retweet::bulk_create_new(&db.pool, rows()).await.unwrap();
    for _ in 0..5 {
        Retweet::bulk_create_new(&db.pool, rows()).await.unwrap();
    }
    Retweet::bulk_create_new(&db.pool, (0..10).map(|number| retweet(2, number))).await.unwrap();
    let ids = db.numbers("SELECT id FROM retweets ORDER BY id").await;
    // InnoDB hands out the ids of one INSERT .. SELECT in blocks, each twice as large as the one before, and drops what is left of the last.
    let most = if Db::NAME == "MySQL" { 2 * 260 } else { 260 };
    assert_eq!(ids.len(), 260);
    assert!(ids[259] - ids[0] < most, "the ids have gaps: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_transaction_goes_on_after_ok_other_unique_and_a_failed_bulk_call() {
    let db = Fixture::new().await;
    Account::get_or_create(&db.pool, account("a@x", "a")).await.unwrap();

    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert!(Account::get_or_create(&mut tx, account("b@x", "b")).await.unwrap().created);
    assert!(!Account::get_or_create(&mut tx, account("b@x", "b")).await.unwrap().created);
    let other = Account::get_or_create(&mut tx, account("c@x", "a")).await.unwrap_err();
    assert_eq!(kind(&other), "OtherUnique");
    assert!(Account::get_or_create(&mut tx, account("d@x", "d")).await.unwrap().created);
    let bulk = Account::bulk_create_new(&mut tx, [account("e@x", "e"), account("f@x", "a")]).await.unwrap_err();
    assert_eq!(kind(&bulk), "OtherUnique");
    let bulk =
        Account::bulk_create_new(&mut tx, [account("e@x", "e"), NewAccount { age: -1, ..account("f@x", "f") }]).await;
    assert_eq!(kind(&bulk.unwrap_err()), "Sql");
    let bulk = Loose::bulk_create_new(&mut tx, [loose(1, 1)]).await.unwrap_err();
    assert_eq!(kind(&bulk), "MissingUniqueIndex");
    assert!(Account::get_or_create(&mut tx, account("g@x", "g")).await.unwrap().created);
    sqlx::query("UPDATE accounts SET age = 31 WHERE email = 'g@x'").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(db.count("accounts").await, 4);
    assert_eq!(db.number("SELECT age FROM accounts WHERE email = 'g@x'").await, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_transaction_goes_on_after_every_error_that_the_database_survives() {
    let db = Fixture::new().await;
    for (name, bad) in refused_notes() {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Note::get_or_create(&mut tx, note(&format!("{name}: before"))).await.unwrap();
        Note::get_or_create(&mut tx, bad).await.unwrap_err();
        let after = Note::get_or_create(&mut tx, note(&format!("{name}: after"))).await;
        if Subject::SURVIVES_FAILED_STATEMENTS {
            assert!(after.unwrap_or_else(|error| panic!("{name}: {error}")).created);
            tx.commit().await.unwrap();
            assert_eq!(db.number(&format!("SELECT count(*) FROM notes WHERE slug LIKE '{name}%'")).await, 2);
        } else {
            assert_eq!(kind(&after.unwrap_err()), "Ended", "{name}");
            assert_eq!(kind(&tx.commit().await.unwrap_err()), "Ended", "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_conflict_on_another_unique_index_is_an_error_and_never_the_other_row() {
    let db = Fixture::new().await;
    Account::get_or_create(&db.pool, account("a@x", "taken")).await.unwrap();

    let single = Account::get_or_create(&db.pool, account("b@x", "taken")).await.unwrap_err();
    let make = async || Ok::<_, Error>(account("b@x", "taken"));
    let with = Account::get_or_create_with(&db.pool, by_email("b@x"), make).await.unwrap_err();
    let bulk = Account::bulk_create_new(&db.pool, [account("b@x", "taken")]).await.unwrap_err();
    let within = Account::bulk_create_new(&db.pool, [account("b@x", "b"), account("c@x", "b")]).await.unwrap_err();
    for error in [single, with, bulk, within] {
        assert_eq!(kind(&error), "OtherUnique", "{error}");
        assert!(error.is_unique_violation() && !error.is_retryable());
        let text = error.to_string();
        assert!(text.starts_with("Account::") && text.contains("email"), "{text}");
        assert!(!text.contains("taken") && !text.contains("b@x"), "a row's values are no part of the message: {text}");
    }
    assert_eq!(db.count("accounts").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_any_key_of_the_model_can_be_asked_for() {
    let db = Fixture::new().await;
    let first = Account::get_or_create(&db.pool, account("a@x", "a")).await.unwrap().row;
    let by_handle = |handle: &str| AccountHandleKey { handle: handle.into() };

    let found = Account::get_or_create_with(&db.pool, by_handle("a"), async || -> Result<_, Error> { unreachable!() });
    assert_eq!(found.await.unwrap(), Outcome { row: first.clone(), created: false });
    assert_eq!(Account::find(&db.pool, by_handle("a")).await.unwrap(), Some(first.clone()));
    assert_eq!(Account::find(&db.pool, AccountIdKey { id: first.id }).await.unwrap(), Some(first.clone()));
    assert_eq!(Account::find(&db.pool, by_email("none")).await.unwrap(), None);

    let made = Account::get_or_create_with(&db.pool, by_handle("b"), async || Ok::<_, Error>(account("b@x", "b")))
        .await
        .unwrap();
    assert!(made.created);
    let other =
        Account::get_or_create_with(&db.pool, by_handle("c"), async || Ok::<_, Error>(account("a@x", "c"))).await;
    assert_eq!(kind(&other.unwrap_err()), "OtherUnique", "the email is another row's");
    assert_eq!(db.count("accounts").await, 2);
}

/// Rows that a plain INSERT refuses, one for each reason.
fn refused_notes() -> Vec<(&'static str, NewNote)> {
    vec![
        ("not null", NewNote { body: None, ..note("bad") }),
        ("check", NewNote { stars: 6, ..note("bad") }),
        ("foreign key", NewNote { account: Some(404), ..note("bad") }),
        ("too long", NewNote { title: "more than ten".into(), ..note("bad") }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_row_that_a_plain_insert_refuses_is_refused() {
    let db = Fixture::new().await;
    for (name, bad) in refused_notes() {
        let text = |value: &Option<String>| value.as_ref().map_or("NULL".to_owned(), |value| format!("'{value}'"));
        let insert = format!(
            "INSERT INTO notes (slug, title, body, stars, account) VALUES ('{}', '{}', {}, {}, {})",
            bad.slug,
            bad.title,
            text(&bad.body),
            bad.stars,
            bad.account.map_or("NULL".to_owned(), |account| account.to_string()),
        );
        db.try_run(&insert).await.expect_err(name);

        let single = Note::get_or_create(&db.pool, bad.clone()).await.expect_err(name);
        let key = NoteKey { slug: "bad".into() };
        let with = Note::get_or_create_with(&db.pool, key, async || Ok::<_, Error>(bad.clone())).await.expect_err(name);
        let bulk = Note::bulk_create_new(&db.pool, [note("good"), bad.clone()]).await.expect_err(name);
        for error in [single, with, bulk] {
            assert_eq!(kind(&error), "Sql", "{name}: {error}");
            assert!(!error.is_unique_violation() && !error.is_retryable(), "{name}: {error}");
        }
        assert_eq!(db.count("notes").await, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_row_that_is_there_is_found_whatever_else_is_wrong_with_the_new_one() {
    let db = Fixture::new().await;
    let good = Note::get_or_create(&db.pool, note("bad")).await.unwrap().row;
    for (name, bad) in refused_notes() {
        let found = Note::get_or_create(&db.pool, bad.clone()).await.expect(name);
        assert_eq!(found, Outcome { row: good.clone(), created: false });
        assert_eq!(Note::bulk_create_new(&db.pool, [bad]).await.expect(name).created, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_null_matches_null_where_an_index_can_say_so_and_is_refused_elsewhere() {
    let db = Fixture::new().await;
    let new = |scope| NewSetting { scope, name: "theme".into(), value: "dark".into() };
    if Subject::NULLS_NOT_DISTINCT {
        for scope in [None, Some(1)] {
            assert!(Setting::get_or_create(&db.pool, new(scope)).await.unwrap().created);
            assert!(!Setting::get_or_create(&db.pool, new(scope)).await.unwrap().created);
        }
        let done =
            Setting::bulk_create_new(&db.pool, [new(None), new(Some(1)), new(Some(2)), new(Some(2))]).await.unwrap();
        assert_eq!((done.received, done.created), (4, 1));
        let key = SettingKey { scope: None, name: "theme".into() };
        assert_eq!(Setting::find(&db.pool, key).await.unwrap().unwrap().scope, None);
        assert_eq!(db.count("settings").await, 3);
        return;
    }
    let key = || SettingKey { scope: Some(1), name: "theme".into() };
    let errors = [
        Setting::get_or_create(&db.pool, new(Some(1))).await.unwrap_err(),
        Setting::get_or_create_with(&db.pool, key(), async || Ok::<_, Error>(new(None))).await.unwrap_err(),
        Setting::find(&db.pool, key()).await.unwrap_err(),
        Setting::bulk_create_new(&db.pool, [new(None)]).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(kind(&error), "Unsupported", "{error}");
        assert!(error.to_string().starts_with("Setting::"), "{error}");
    }
    assert_eq!(db.count("settings").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_the_database_decides_what_is_equal() {
    let pairs =
        [("Case", "case"), ("space", "space "), ("É", "é"), ("straße", "strasse"), ("tab", "tab\t"), ("a", "b")];
    // The order of the two as bytes must not matter.
    for (first, second) in pairs.into_iter().chain(pairs.map(|(first, second)| (second, first))) {
        let db = Fixture::new().await;
        db.run(&format!("INSERT INTO tags (code, label) VALUES ('{first}', 'plain')")).await;
        let equal = db.try_run(&format!("INSERT INTO tags (code, label) VALUES ('{second}', 'plain')")).await.is_err();
        db.run("DELETE FROM tags").await;

        Tag::get_or_create(&db.pool, tag(first, "1")).await.unwrap();
        let Outcome { row, created } = Tag::get_or_create(&db.pool, tag(second, "2")).await.unwrap();
        assert_eq!(
            (created, row.code.as_str()),
            if equal { (false, first) } else { (true, second) },
            "get_or_create: {first:?} {second:?}"
        );
        let found = Tag::find(&db.pool, TagKey { code: second.into() }).await.unwrap().unwrap();
        assert_eq!(found, row, "find: {first:?} {second:?}");

        db.run("DELETE FROM tags").await;
        let done = Tag::bulk_create_new(&db.pool, [tag(first, "1"), tag(second, "2")]).await.unwrap();
        assert_eq!(done.created, if equal { 1 } else { 2 }, "in one batch: {first:?} {second:?}");
        let kept = Tag::find(&db.pool, TagKey { code: second.into() }).await.unwrap().unwrap();
        assert_eq!(kept.label, if equal { "1" } else { "2" }, "the first wins: {first:?} {second:?}");

        let again = Tag::bulk_create_new(&db.pool, [tag(second, "3"), tag(first, "3")]).await.unwrap();
        assert_eq!(again.created, 0, "against the table: {first:?} {second:?}");
        assert_eq!(db.number("SELECT count(*) FROM tags WHERE label = '3'").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_a_row_that_is_found_is_never_changed() {
    let db = Fixture::new().await;
    let first = Retweet::get_or_create(&db.pool, NewRetweet { original_author: 1, ..retweet(1, 1) }).await.unwrap().row;
    let other = NewRetweet { original_author: 2, ..retweet(1, 1) };

    let found = Retweet::get_or_create(&db.pool, other.clone()).await.unwrap();
    assert_eq!(found, Outcome { row: first.clone(), created: false });
    let with =
        Retweet::get_or_create_with(&db.pool, first.key(), async || Ok::<_, Error>(other.clone())).await.unwrap();
    assert_eq!(with, Outcome { row: first.clone(), created: false });
    let done = Retweet::bulk_create_new(&db.pool, [other.clone(), other]).await.unwrap();
    assert_eq!((done.received, done.created), (2, 0));
    assert_eq!(Retweet::find(&db.pool, first.key()).await.unwrap(), Some(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn make_runs_only_when_the_row_is_missing_and_its_key_columns_are_those_asked_for() {
    let db = Fixture::new().await;
    let key = || RetweetKey { tweet: 1, retweeter: 2 };
    let mut runs = 0;
    for _ in 0..2 {
        let make = async || {
            runs += 1;
            Ok::<_, Error>(NewRetweet { tweet: 8, retweeter: 9, original_author: 3 })
        };
        let row = Retweet::get_or_create_with(&db.pool, key(), make).await.unwrap().row;
        assert_eq!((row.tweet, row.retweeter, row.original_author), (1, 2, 3));
    }
    assert_eq!(runs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_make_is_the_error_of_the_call_and_nothing_is_written() {
    use super::ImportError;
    let db = Fixture::with_connections(1).await;
    let key = || RetweetKey { tweet: 1, retweeter: 2 };
    let failed = Retweet::get_or_create_with(&db.pool, key(), async || Err(ImportError::Line(7))).await;
    assert!(matches!(failed, Err(ImportError::Line(7))));
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let failed = Retweet::get_or_create_with(&mut tx, key(), async || Err(ImportError::Line(8))).await;
    assert!(matches!(failed, Err(ImportError::Line(8))));
    Retweet::get_or_create(&mut tx, retweet(5, 5)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_held_while_make_runs() {
    let db = Fixture::with_connections(1).await;
    let make = async || {
        let also = Retweet::get_or_create(&db.pool, retweet(9, 9)).await?.row;
        Ok::<_, Error>(NewRetweet { original_author: also.id, ..retweet(1, 2) })
    };
    let key = RetweetKey { tweet: 1, retweeter: 2 };
    assert!(Retweet::get_or_create_with(&db.pool, key, make).await.unwrap().created);
    assert_eq!(db.count("retweets").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_finds_two_rows_is_an_error() {
    let db = Fixture::new().await;
    for _ in 0..2 {
        db.run("INSERT INTO loose (a, b, label) VALUES (1, 2, 'x')").await;
    }
    let found = Loose::find(&db.pool, LooseKey { a: 1, b: 2 }).await.unwrap_err();
    assert_eq!(kind(&found), "ManyRows");
    assert_eq!(kind(&Loose::get_or_create(&db.pool, loose(1, 2)).await.unwrap_err()), "ManyRows");
    assert_eq!(db.count("loose").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_comes_back_as_it_went_in() {
    let db = Fixture::new().await;
    let texts = [
        "it's \"quoted\" `and` [more]",
        "a\\b%_?$1 :name",
        "emoji 🦀 and ünïcödé",
        "",
        " leading and trailing ",
        "line\r\nbreak\ttab",
        "'); DROP TABLE words; --",
    ];
    for (number, text) in texts.iter().enumerate() {
        let slug = format!("slug {number}");
        let new = NewNote { body: Some((*text).into()), ..note(&slug) };
        let single = Note::get_or_create(&db.pool, new).await.unwrap().row;
        assert_eq!(single.body.as_deref(), Some(*text));
    }
    let long = "4,001 characters".chars().cycle().take(4_001).collect::<String>();
    let bodies: Vec<&str> = texts.iter().copied().chain([long.as_str()]).collect();
    let rows = bodies
        .iter()
        .enumerate()
        .map(|(number, text)| NewNote { body: Some((*text).into()), ..note(&format!("bulk {number}")) });
    Note::bulk_create_new(&db.pool, rows.collect::<Vec<_>>()).await.unwrap();
    for (number, text) in bodies.iter().enumerate() {
        let row = Note::find(&db.pool, NoteKey { slug: format!("bulk {number}") }).await.unwrap().unwrap();
        assert_eq!(row.body.as_deref(), Some(*text));
    }
    let _: i64 = sqlx::query_scalar(plain("SELECT count(*) FROM words")).fetch_one(&db.pool).await.unwrap();
}
