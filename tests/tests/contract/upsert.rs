//! One row, made or given new values: `upsert`.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::task::JoinSet;
use upsertable::{Error, Outcome, Upsertable as _, testing::statements};
use upsertable_tests::{
    TestDb as _,
    models::{Account, Loose, NewAccount, NewNote, NewSetting, Note, Setting, Word, account, loose, note},
    race,
};

use super::{
    CALLERS, Fixture, Subject, kind,
    statements::{data, of_a_missing_row},
    tables::{self, Member, Song, Topic, member, song, song_key, topic},
};

/// Checks that one caller made each song.
///
/// Given are, of the callers that upserted one, the row that each got, and whether it made it.
fn assert_made_once(given: &[Outcome<Song>], songs: usize) {
    let made = given.iter().filter(|outcome| outcome.created);
    let mut names: Vec<&str> = made.map(|outcome| outcome.row.name.as_str()).collect();
    names.sort_unstable();
    let made = names.len();
    names.dedup();
    assert_eq!((made, names.len()), (songs, songs), "one caller of each song made it");
    for outcome in given {
        let maker = given.iter().find(|other| other.created && other.row.name == outcome.row.name).unwrap();
        assert_eq!((outcome.row.id, &outcome.row.added_by), (maker.row.id, &maker.row.added_by));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_of_racing_upserts_one_creates_the_row_and_all_get_their_own_values() {
    const ROUNDS: i64 = 300;
    let db = tables::fixture().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut given = Vec::new();
        for round in 0..ROUNDS {
            start.wait().await;
            let name = format!("song {round}");
            let outcome = Song::upsert(&pool, song(&name, caller, &caller.to_string())).await.unwrap();
            assert_eq!((outcome.row.name.as_str(), outcome.row.score), (name.as_str(), caller));
            assert!(!outcome.created || outcome.row.added_by == caller.to_string());
            given.push(outcome);
        }
        given
    })
    .await;
    let given: Vec<Outcome<Song>> = done.into_iter().flatten().collect();
    assert_made_once(&given, ROUNDS as usize);
    assert_eq!(db.count("songs").await, ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_holds_for_upserts_in_transactions() {
    const ROUNDS: i64 = 60;
    const SONGS: i64 = 3;
    let db = tables::fixture().await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let pool = db.pool.clone();
        callers.spawn(async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                let once = async || -> Result<Vec<Outcome<Song>>, Error> {
                    let mut tx = upsertable::begin(&pool).await?;
                    let mut given = Vec::new();
                    for number in 0..SONGS {
                        let name = format!("song {round} {}", (number + caller) % SONGS);
                        given.push(Song::upsert(&mut tx, song(&name, caller, &caller.to_string())).await?);
                    }
                    tx.commit().await?;
                    Ok(given)
                };
                loop {
                    match once().await {
                        Ok(done) => break given.extend(done),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
            }
            given
        });
    }
    let given: Vec<Outcome<Song>> = callers.join_all().await.into_iter().flatten().collect();
    assert_made_once(&given, (ROUNDS * SONGS) as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_upserts_race_with_every_other_way_to_create() {
    const ROUNDS: i64 = 60;
    const SONGS: i64 = 20;
    let db = tables::fixture().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut created = 0;
        for round in 0..ROUNDS {
            let new = |number| song(&format!("song {round} {number}"), caller, &caller.to_string());
            let numbers = (0..SONGS).map(|number| (number * 7 + caller) % SONGS);
            start.wait().await;
            created += match caller % 4 {
                0 => Song::bulk_upsert(&pool, numbers.map(new)).await.unwrap().created,
                1 => Song::bulk_create_new(&pool, numbers.map(new)).await.unwrap().created,
                2 => {
                    let rows = Song::bulk_get_or_create(&pool, numbers.map(new)).await.unwrap();
                    rows.iter().filter(|outcome| outcome.created).count() as u64
                }
                _ => {
                    let mut made = 0;
                    for number in numbers.step_by(5) {
                        made += u64::from(Song::upsert(&pool, new(number)).await.unwrap().created);
                    }
                    made
                }
            };
        }
        created
    })
    .await;
    let created: u64 = done.into_iter().sum();
    assert_eq!(created, (ROUNDS * SONGS) as u64);
    assert_eq!(db.count("songs").await, ROUNDS * SONGS);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_upserts_hold_while_others_delete_the_row() {
    const ROUNDS: i64 = 200;
    let db = tables::fixture().await;
    let (created, deleted) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..CALLERS {
        let (pool, created, deleted) = (db.pool.clone(), Arc::clone(&created), Arc::clone(&deleted));
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                if task % 4 == 0 {
                    match sqlx::query("DELETE FROM songs").execute(&pool).await {
                        Ok(gone) => drop(deleted.fetch_add(gone.rows_affected().cast_signed(), Ordering::SeqCst)),
                        // Plain sqlx does not try again.
                        Err(error) => assert!(Error::from(error).is_retryable()),
                    }
                } else {
                    let outcome = Song::upsert(&pool, song(&format!("{}", round % 2), task, "x")).await.unwrap();
                    created.fetch_add(i64::from(outcome.created), Ordering::SeqCst);
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(created.load(Ordering::SeqCst), deleted.load(Ordering::SeqCst) + db.count("songs").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_gives_new_values_to_all_columns_but_the_key_the_generated_and_the_create_only() {
    let db = tables::fixture().await;
    let made = Song::upsert(&db.pool, song("Naima", 7, "ann")).await.unwrap();
    assert!(made.created);
    assert_eq!((made.row.name.as_str(), made.row.score, made.row.added_by.as_str()), ("Naima", 7, "ann"));

    let updated = Song::upsert(&db.pool, song("Naima", 9, "bob")).await.unwrap();
    assert_eq!(updated, Outcome { row: Song { score: 9, ..made.row.clone() }, created: false });
    assert_eq!(Song::find(&db.pool, song_key("Naima")).await.unwrap(), Some(updated.row.clone()));

    // A row that has these values already is there all the same.
    let same = Song::upsert(&db.pool, song("Naima", 9, "eve")).await.unwrap();
    assert_eq!(same, updated);

    // Nothing but the row of the key is touched.
    let other = Song::upsert(&db.pool, song("Giant Steps", 1, "ann")).await.unwrap();
    assert!(other.created);
    assert_eq!(Song::find(&db.pool, song_key("Naima")).await.unwrap(), Some(updated.row));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_of_a_model_with_nothing_to_update_finds_or_creates() {
    let db = tables::fixture().await;
    let made = Member::upsert(&db.pool, member(1, "ann", 2001)).await.unwrap();
    assert!(made.created);
    assert_eq!(made.row.state, "joined", "the database fills it in");
    let found = Member::upsert(&db.pool, member(1, "ann", 2002)).await.unwrap();
    assert_eq!(found, Outcome { row: made.row, created: false });

    let word = || Word { word: "only a key".into() };
    assert_eq!(Word::upsert(&db.pool, word()).await.unwrap(), Outcome { row: word(), created: true });
    assert_eq!(Word::upsert(&db.pool, word()).await.unwrap(), Outcome { row: word(), created: false });
    assert_eq!((db.count("members").await, db.count("words").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_of_racing_upserts_with_nothing_to_update_one_creates_the_row() {
    const ROUNDS: i64 = 200;
    let db = tables::fixture().await;
    let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
        let mut created = 0;
        for round in 0..ROUNDS {
            start.wait().await;
            created += i64::from(Member::upsert(&pool, member(round, "ann", caller)).await.unwrap().created);
        }
        created
    })
    .await;
    assert_eq!(done.into_iter().sum::<i64>(), ROUNDS);
    assert_eq!(db.count("members").await, ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_an_upsert_of_an_existing_row_costs_one_statement_and_of_a_missing_one_two() {
    let db = tables::fixture().await;
    let (made, missing) = statements(Song::upsert(&db.pool, song("Naima", 1, "ann"))).await;
    assert!(made.unwrap().created);
    let (updated, existing) = statements(Song::upsert(&db.pool, song("Naima", 2, "ann"))).await;
    assert!(!updated.unwrap().created);
    // One more statement reads the row if an UPDATE does not give it back.
    let (of_a_missing_one, of_an_existing_one) = match db.server.name {
        "MySQL" => (of_a_missing_row(&db), 2),
        "MariaDB" => (2, 2),
        _ => (2, 1),
    };
    assert_eq!(data(&missing).len(), of_a_missing_one, "{missing:?}");
    assert_eq!(data(&existing).len(), of_an_existing_one, "{existing:?}");

    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let (_, inside) = statements(Song::upsert(&mut tx, song("Naima", 3, "ann"))).await;
    assert_eq!(data(&inside).len(), data(&existing).len(), "{inside:?}");
    tx.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_no_id_is_used_up_for_a_row_that_is_updated() {
    let db = tables::fixture().await;
    let first = Song::upsert(&db.pool, song("first", 0, "ann")).await.unwrap().row.id;
    for score in 0..50 {
        assert_eq!(Song::upsert(&db.pool, song("first", score, "ann")).await.unwrap().row.id, first);
    }
    let rows = (0..50).map(|score| song("first", score, "ann"));
    assert_eq!(Song::bulk_upsert(&db.pool, rows).await.unwrap().updated, 1);
    assert_eq!(Song::upsert(&db.pool, song("second", 0, "ann")).await.unwrap().row.id, first + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_transaction_goes_on_after_an_upsert_that_was_refused_by_another_unique_index() {
    let db = Fixture::new().await;
    for name in ["a", "b"] {
        Account::get_or_create(&db.pool, account(&format!("{name}@x"), name)).await.unwrap();
    }
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    // Both ways: the new row has another's handle, and so has the new value of a row that is there.
    for email in ["c@x", "b@x"] {
        let error = Account::upsert(&mut tx, account(email, "a")).await.unwrap_err();
        assert_eq!(kind(&error), "OtherUnique", "{email}: {error}");
        assert!(error.is_unique_violation() && !error.is_retryable());
        assert!(!error.to_string().contains(email), "a row's values are no part of the message: {error}");
        assert!(!Account::upsert(&mut tx, NewAccount { age: 31, ..account("a@x", "a") }).await.unwrap().created);
    }
    tx.commit().await.unwrap();
    assert_eq!(db.numbers("SELECT age FROM accounts ORDER BY handle").await, [31, 30]);

    let error = Account::upsert(&db.pool, account("b@x", "a")).await.unwrap_err();
    assert_eq!(kind(&error), "OtherUnique", "{error}");
    assert_eq!(db.count("accounts").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_an_upsert_is_refused_what_a_plain_insert_or_update_is_refused() {
    let db = Fixture::with_connections(1).await;
    let refused = [
        ("not null", NewNote { body: None, ..note("a") }),
        ("check", NewNote { stars: 6, ..note("a") }),
        ("foreign key", NewNote { account: Some(404), ..note("a") }),
        ("too long", NewNote { title: "more than ten".into(), ..note("a") }),
    ];
    for (name, bad) in &refused {
        let error = Note::upsert(&db.pool, bad.clone()).await.expect_err(name);
        assert_eq!(kind(&error), "Sql", "{name}: {error}");
        let error = Note::bulk_upsert(&db.pool, [note("good"), bad.clone()]).await.expect_err(name);
        assert_eq!(kind(&error), "Sql", "{name}: {error}");
        db.assert_pool_clean(name).await;
        assert_eq!(db.count("notes").await, 0, "{name}");
    }
    let good = Note::upsert(&db.pool, note("a")).await.unwrap().row;
    for (name, bad) in refused {
        assert_eq!(kind(&Note::upsert(&db.pool, bad.clone()).await.expect_err(name)), "Sql");
        assert_eq!(kind(&Note::bulk_upsert(&db.pool, [note("good"), bad]).await.expect_err(name)), "Sql");
        assert_eq!(Note::find(&db.pool, good.key()).await.unwrap(), Some(good.clone()), "{name}");
        db.assert_pool_clean(name).await;
    }
    assert_eq!(db.count("notes").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_an_upsert_by_a_key_in_which_null_matches_null() {
    let db = Fixture::new().await;
    let new = |scope, value: &str| NewSetting { scope, name: "theme".into(), value: value.into() };
    if !Subject::NULLS_NOT_DISTINCT {
        assert_eq!(kind(&Setting::upsert(&db.pool, new(None, "dark")).await.unwrap_err()), "Unsupported");
        assert_eq!(kind(&Setting::bulk_upsert(&db.pool, [new(None, "dark")]).await.unwrap_err()), "Unsupported");
        assert_eq!(kind(&Setting::bulk_get_or_create(&db.pool, [new(None, "dark")]).await.unwrap_err()), "Unsupported");
        return;
    }
    for scope in [None, Some(1)] {
        assert!(Setting::upsert(&db.pool, new(scope, "dark")).await.unwrap().created);
        let updated = Setting::upsert(&db.pool, new(scope, "light")).await.unwrap();
        assert_eq!((updated.created, updated.row.value.as_str()), (false, "light"));
    }
    let rows = [new(None, "a"), new(None, "b"), new(Some(2), "c"), new(Some(2), "d")];
    let done = Setting::bulk_upsert(&db.pool, rows.clone()).await.unwrap();
    assert_eq!((done.received, done.created, done.updated), (4, 1, 1));
    let found = Setting::bulk_get_or_create(&db.pool, rows).await.unwrap();
    assert_eq!(found.iter().map(|outcome| outcome.row.value.as_str()).collect::<Vec<_>>(), ["b", "b", "d", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_an_upsert_leaves_it_to_the_database_what_is_equal_and_the_key_as_it_was_written_first() {
    let db = tables::fixture().await;
    let made = Topic::upsert(&db.pool, topic("Case", "1")).await.unwrap().row;
    db.run("INSERT INTO topics (code, title) VALUES ('probe', 'x')").await;
    let equal = db.number("SELECT count(*) FROM topics WHERE code = 'PROBE'").await == 1;
    let again = Topic::upsert(&db.pool, topic("CASE", "2")).await.unwrap();
    assert_eq!(again.created, !equal);
    if equal {
        assert_eq!(again.row, Topic { title: "2".into(), ..made });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_without_the_unique_index_nothing_is_updated_and_nothing_created() {
    let db = Fixture::with_connections(1).await;
    for rows in [0, 1] {
        if rows == 1 {
            db.run("INSERT INTO loose (a, b, label) VALUES (1, 1, 'old')").await;
        }
        let errors = [
            Loose::upsert(&db.pool, loose(1, 1)).await.unwrap_err(),
            Loose::bulk_upsert(&db.pool, [loose(1, 1)]).await.unwrap_err(),
            Loose::bulk_get_or_create(&db.pool, [loose(1, 1)]).await.unwrap_err(),
        ];
        // The row that is there has not been changed either.
        assert_eq!(db.number("SELECT count(*) FROM loose WHERE label <> 'old'").await, 0, "{errors:?}");
        assert_eq!(db.count("loose").await, rows);
        for error in errors {
            // An upsert of a row that is not there ends in an INSERT, which tells.
            assert_eq!(kind(&error), "MissingUniqueIndex", "{rows} rows: {error}");
            assert!(error.to_string().contains("CREATE UNIQUE INDEX"), "{error}");
        }
        db.assert_pool_clean("without the index").await;
    }
    let Error::MissingUniqueIndex { create, .. } = Loose::upsert(&db.pool, loose(1, 1)).await.unwrap_err() else {
        panic!("the index is missing");
    };
    db.run(&create).await;
    assert!(!Loose::upsert(&db.pool, loose(1, 1)).await.unwrap().created);
    assert_eq!(db.number("SELECT count(*) FROM loose WHERE label = 'x'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_is_undone_with_its_transaction_and_its_savepoint() {
    let db = tables::fixture().await;
    Song::upsert(&db.pool, song("Naima", 1, "ann")).await.unwrap();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Song::upsert(&mut tx, song("Naima", 2, "ann")).await.unwrap();
    let undone = tx.savepoint(async |tx| {
        Song::upsert(&mut *tx, song("Naima", 3, "ann")).await?;
        Song::bulk_upsert(&mut *tx, [song("Naima", 4, "ann"), song("other", 4, "ann")]).await?;
        Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
    });
    undone.await.unwrap_err();
    assert_eq!(Song::find(&mut tx, song_key("Naima")).await.unwrap().unwrap().score, 2);
    tx.rollback().await.unwrap();
    assert_eq!(db.numbers("SELECT score FROM songs").await, [1]);
}
