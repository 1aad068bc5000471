//! Names, texts and numbers of rows at which a thin version breaks.

use futures_util::stream;
use sqlx::Database as _;
use upsertable::{BulkUpserted, Error, Outcome, Upsertable as _};
use upsertable_tests::{
    TestDb as _,
    models::{Retweet, retweet},
};

use super::{
    Db, Fixture, Subject, kind,
    tables::{
        self, Insider, InsiderKey, NewInsider, NewReserved, Outsider, OutsiderKey, Reserved, ReservedKey, Song, song,
        song_key,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn reserved_words_quotes_and_dots_are_names_like_any_other() {
    let db = tables::fixture().await;
    let new = |group, odd: &str| NewReserved { group, dotted: "key".into(), odd: odd.into(), values: group };
    let key = |group| ReservedKey { group, dotted: "key".into() };

    let made = Reserved::get_or_create(&db.pool, new(1, "one")).await.unwrap();
    assert!(made.created);
    assert_eq!((made.row.group, made.row.odd.as_str(), made.row.values), (1, "one", 1));
    assert_eq!(Reserved::find(&db.pool, key(1)).await.unwrap(), Some(made.row.clone()));
    let updated = Reserved::upsert(&db.pool, NewReserved { values: 9, ..new(1, "uno") }).await.unwrap();
    assert_eq!(updated, Outcome { row: Reserved { odd: "uno".into(), ..made.row }, created: false });

    let created = Reserved::bulk_create_new(&db.pool, [new(1, "x"), new(2, "two")]).await.unwrap();
    assert_eq!((created.received, created.created), (2, 1));
    let rows = Reserved::bulk_get_or_create(&db.pool, [new(2, "x"), new(3, "three")]).await.unwrap();
    assert_eq!(
        rows.iter().map(|outcome| (outcome.row.odd.as_str(), outcome.created)).collect::<Vec<_>>(),
        [("two", false), ("three", true)]
    );
    let done = Reserved::bulk_upsert(&db.pool, [new(3, "tres"), new(4, "cuatro")]).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 2, created: 1, updated: 1 });
    let found = Reserved::find_all(&db.pool, (1..=5).map(key)).await.unwrap();
    let odd: Vec<Option<&str>> = found.iter().map(|row| row.as_ref().map(|row| row.odd.as_str())).collect();
    assert_eq!(odd, [Some("uno"), Some("two"), Some("tres"), Some("cuatro"), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_columns_may_have_the_names_that_the_crate_uses_itself() {
    let db = tables::fixture().await;
    let new = |number: i64| NewInsider {
        n: 100 + number,
        w: 200 + number,
        s: 300 + number,
        t: 400 + number,
        c0: 500 + number,
        c1: 600 + number,
        found: 700 + number,
        created: 800 + number,
    };
    let is = |row: &Insider, number: i64| {
        let given = [row.n, row.w, row.s, row.t, row.c0, row.c1, row.found, row.created];
        assert_eq!(given, [100, 200, 300, 400, 500, 600, 700, 800].map(|column| column + number));
    };
    is(&Insider::get_or_create(&db.pool, new(1)).await.unwrap().row, 1);
    is(&Insider::upsert(&db.pool, new(2)).await.unwrap().row, 2);
    is(&Insider::upsert(&db.pool, new(2)).await.unwrap().row, 2);
    assert_eq!(Insider::bulk_create_new(&db.pool, [new(2), new(3)]).await.unwrap().created, 1);
    for (row, number) in Insider::bulk_get_or_create(&db.pool, (1..5).map(new)).await.unwrap().iter().zip(1..) {
        is(&row.row, number);
    }
    assert_eq!(
        Insider::bulk_upsert(&db.pool, (4..6).map(new)).await.unwrap(),
        BulkUpserted { received: 2, created: 1, updated: 1 }
    );
    let keys = (1..6).map(|number| InsiderKey { n: 100 + number, t: 400 + number });
    for (row, number) in Insider::find_all(&db.pool, keys).await.unwrap().iter().zip(1..) {
        is(row.as_ref().unwrap(), number);
    }

    let new = |number: i64| Outsider { s: number, n: 10 + number, other: 20 + number };
    assert!(Outsider::get_or_create(&db.pool, new(1)).await.unwrap().created);
    assert!(!Outsider::upsert(&db.pool, new(1)).await.unwrap().created);
    assert_eq!(Outsider::bulk_create_new(&db.pool, [new(1), new(2)]).await.unwrap().created, 1);
    assert_eq!(Outsider::bulk_upsert(&db.pool, [new(2), new(3)]).await.unwrap().created, 1);
    let rows = Outsider::bulk_get_or_create(&db.pool, (1..5).map(new)).await.unwrap();
    assert_eq!(rows.into_iter().map(Outcome::into_row).collect::<Vec<_>>(), (1..5).map(new).collect::<Vec<_>>());
    let found = Outsider::find_all(&db.pool, (1..6).map(|s| OutsiderKey { s })).await.unwrap();
    assert_eq!(found, (1..5).map(|number| Some(new(number))).chain([None]).collect::<Vec<_>>());
}

/// Texts for every way in which one is spoiled.
///
/// Quotes, backslashes, wildcards, placeholders, what only looks like SQL, and length.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "it's \"quoted\" `and` [more]",
        "a\\b%_?$1 :name @x",
        "emoji 🦀👩‍👩‍👧 and ünïcödé",
        "",
        "line\r\nbreak\ttab",
        "'); DROP TABLE songs; --",
        "NULL",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("4,001 characters ".chars().cycle().take(4_001).collect());
    texts.push("🦀".repeat(4_001));
    // PostgreSQL has no character 0 in its texts.
    if Db::NAME != "PostgreSQL" {
        texts.push("before\0after".into());
        texts.push("before\0other".into());
        texts.push("\0".into());
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn text_comes_back_from_every_call_as_it_went_in() {
    let db = tables::fixture().await;
    let new = |(number, text): (i64, String)| song(&format!("song {number}"), number, &text);
    let rows = || (0..).zip(texts()).map(new);
    for round in ["upsert", "bulk_get_or_create", "bulk_upsert"] {
        match round {
            "upsert" => {
                for row in rows() {
                    let outcome = Song::upsert(&db.pool, row.clone()).await.unwrap();
                    assert_eq!((outcome.created, outcome.row.added_by), (true, row.added_by));
                }
            }
            "bulk_get_or_create" => {
                for (outcome, row) in Song::bulk_get_or_create(&db.pool, rows()).await.unwrap().iter().zip(rows()) {
                    assert_eq!((outcome.created, &outcome.row.added_by), (true, &row.added_by));
                }
            }
            _ => assert_eq!(Song::bulk_upsert(&db.pool, rows()).await.unwrap().created, texts().len() as u64),
        }
        let found = Song::find_all(&db.pool, rows().map(|row| song_key(&row.name))).await.unwrap();
        assert_eq!(found.into_iter().map(|row| row.unwrap().added_by).collect::<Vec<_>>(), texts(), "{round}");
        db.run("DELETE FROM songs").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_any_text_that_the_table_can_hold() {
    let db = tables::fixture().await;
    // A key of MySQL has a length that its column says.
    let texts: Vec<String> =
        texts().into_iter().filter(|text| Db::NAME != "MySQL" || text.chars().count() < 190).collect();
    let rows = || texts.iter().map(|text| song(text, 1, "x"));
    let outcomes = Song::bulk_get_or_create(&db.pool, rows().chain(rows())).await.unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), texts.len());
    for (outcome, text) in outcomes.iter().zip(texts.iter().chain(&texts)) {
        assert_eq!(outcome.row.name, *text);
    }
    for text in &texts {
        assert!(!Song::get_or_create(&db.pool, song(text, 2, "y")).await.unwrap().created, "{text:?}");
        assert_eq!(Song::upsert(&db.pool, song(text, 3, "y")).await.unwrap().row.name, *text);
        assert_eq!(Song::find(&db.pool, song_key(text)).await.unwrap().unwrap().score, 3, "{text:?}");
    }
    assert_eq!(Song::bulk_create_new(&db.pool, rows()).await.unwrap().created, 0);
    assert_eq!(Song::bulk_upsert(&db.pool, rows()).await.unwrap().updated, texts.len() as u64);
    let found = Song::find_all(&db.pool, texts.iter().map(|text| song_key(text))).await.unwrap();
    assert!(found.iter().all(|row| row.as_ref().is_some_and(|row| row.score == 1)));
}

/// Collects the error of every call on songs.
///
/// The handle is evaluated anew for each.
macro_rules! errors_of_every_call {
    ($handle:expr) => {{
        let make = async || Ok::<_, Error>(song("a", 1, "x"));
        let rows = || [song("a", 1, "x"), song("b", 2, "x")];
        vec![
            ("find", Song::find($handle, song_key("a")).await.map(drop)),
            ("find_all", Song::find_all($handle, [song_key("a")]).await.map(drop)),
            ("get_or_create", Song::get_or_create($handle, song("a", 1, "x")).await.map(drop)),
            ("get_or_create_with", Song::get_or_create_with($handle, song_key("a"), make).await.map(drop)),
            ("upsert", Song::upsert($handle, song("a", 1, "x")).await.map(drop)),
            ("bulk_create_new", Song::bulk_create_new($handle, rows()).await.map(drop)),
            ("bulk_create_new_stream", Song::bulk_create_new_stream($handle, stream::iter(rows())).await.map(drop)),
            ("bulk_get_or_create", Song::bulk_get_or_create($handle, rows()).await.map(drop)),
            ("bulk_upsert", Song::bulk_upsert($handle, rows()).await.map(drop)),
        ]
        .into_iter()
        .map(|(call, outcome)| (call, outcome.expect_err(call)))
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_or_column_is_the_database_s_error_in_every_call() {
    for broken in ["DROP TABLE songs", "ALTER TABLE songs DROP COLUMN score", "ALTER TABLE songs DROP COLUMN added_by"]
    {
        let db = tables::fixture_of(1).await;
        // A column that a CHECK names cannot be dropped everywhere.
        if db.try_run(broken).await.is_err() {
            continue;
        }
        for (call, error) in errors_of_every_call!(&db.pool) {
            assert_eq!(kind(&error), "Sql", "{broken}: {call}: {error}");
            assert!(!error.is_retryable() && !error.is_unique_violation(), "{broken}: {call}: {error}");
            db.assert_pool_clean(&format!("{broken}: {call}")).await;
        }
        let mut conn = db.pool.acquire().await.unwrap();
        for (call, error) in errors_of_every_call!(&mut *conn) {
            assert_eq!(kind(&error), "Sql", "{broken}: {call}: {error}");
            Fixture::assert_clean(&mut conn, broken).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_is_the_pool_s_error_in_every_call() {
    let db = tables::fixture().await;
    db.pool.close().await;
    for (call, error) in errors_of_every_call!(&db.pool) {
        assert!(matches!(error, Error::Sql(sqlx::Error::PoolClosed)), "{call}: {error}");
        assert!(!error.is_retryable(), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_only_connection_is_taken_gives_a_time_out_in_every_call() {
    let db = tables::fixture_of(1).await;
    let options = db.pool.options().clone().acquire_timeout(std::time::Duration::from_millis(50));
    let pool = options.connect_lazy_with((*db.pool.connect_options()).clone());
    // To connect can take longer than that.
    let held = loop {
        if let Ok(held) = pool.acquire().await {
            break held;
        }
    };
    for (call, error) in errors_of_every_call!(&pool) {
        assert!(matches!(error, Error::Sql(sqlx::Error::PoolTimedOut)), "{call}: {error}");
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_transaction_refuses_every_call() {
    let db = tables::fixture_of(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Subject::spoil(&mut tx, &db.outside).await;
    for (call, error) in errors_of_every_call!(&mut tx) {
        assert_eq!(kind(&error), "Ended", "{call}: {error}");
    }
    for (call, error) in errors_of_every_call!(&mut *tx) {
        assert_eq!(kind(&error), "Ended", "{call}: {error}");
    }
    drop(tx);
    db.assert_pool_clean("after a transaction that ended").await;
    assert_eq!(db.count("songs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_works_on_a_pool_of_one_connection() {
    let db = tables::fixture_of(1).await;
    for round in 0..2 {
        let rows = || (0..3).map(|number| song(&number.to_string(), number, "x"));
        let is_new = round == 0;
        assert_eq!(Song::upsert(&db.pool, song("upsert", 1, "x")).await.unwrap().created, is_new);
        assert_eq!(Song::bulk_create_new(&db.pool, rows()).await.unwrap().created, if is_new { 3 } else { 0 });
        assert_eq!(Song::bulk_get_or_create(&db.pool, rows()).await.unwrap().len(), 3);
        assert_eq!(Song::bulk_upsert(&db.pool, rows()).await.unwrap().updated, 3);
        assert_eq!(Song::find_all(&db.pool, rows().map(|row| song_key(&row.name))).await.unwrap().len(), 3);
        let in_transaction = upsertable::transaction(&db.pool, async |tx| {
            tx.savepoint(async |tx| Song::bulk_upsert(tx, [song("in a transaction", 1, "x")]).await).await
        });
        assert_eq!(in_transaction.await.unwrap().created, u64::from(is_new));
        db.assert_pool_clean("after every call").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_million_rows() {
    const ROWS: i64 = 1_000_000;
    let db = Fixture::with_connections(1).await;
    let rows = (0..ROWS).map(|number| retweet(number % 1_000, number / 1_000));
    let done = Retweet::bulk_create_new(&db.pool, rows).await.unwrap();
    assert_eq!(done.to_string(), "1000000 of 1000000 records added");
    let wrong = "SELECT count(*) FROM retweets WHERE original_author <> tweet * 1000 + retweeter";
    assert_eq!((db.count("retweets").await, db.number(wrong).await), (ROWS, 0));
    db.assert_pool_clean("after a million rows").await;
}
