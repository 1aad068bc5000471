//! Bulk calls that answer for each row: `bulk_get_or_create`, `bulk_upsert`.

use std::collections::HashMap;

use sqlx::Database as _;
use upsertable::{BulkUpserted, Outcome, Upsertable as _, testing::statements};
use upsertable_tests::models::{Account, NewAccount, NewRetweet, Retweet, Tag, Word, account, retweet, tag};

use super::{
    Db, Fixture, kind,
    statements::data,
    tables::{self, Member, NewSong, Song, Topic, member, song, topic},
};

fn retweets(numbers: impl Iterator<Item = i64> + Clone + Send) -> impl Iterator<Item = NewRetweet> + Clone + Send {
    numbers.map(|number| retweet(1, number))
}

/// Result of a plain map for the same rows, one by one.
///
/// For each it says whether it was made, with the values of the row of its key.
fn one_by_one(there: &[NewSong], rows: &[NewSong]) -> Vec<(bool, NewSong)> {
    let mut table: HashMap<String, NewSong> = there.iter().map(|row| (row.name.clone(), row.clone())).collect();
    let mut take = |row: &NewSong| {
        let created = !table.contains_key(&row.name);
        (created, table.entry(row.name.clone()).or_insert_with(|| row.clone()).clone())
    };
    rows.iter().map(&mut take).collect()
}

fn plainly(outcome: &Outcome<Song>) -> (bool, String, i64, String) {
    let Outcome { row, created } = outcome;
    (*created, row.name.clone(), row.score, row.added_by.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_bulk_get_or_create_answers_for_every_row_in_the_order_of_the_rows() {
    let db = tables::fixture().await;
    let there: Vec<NewSong> = (0..700).map(|number| song(&format!("song {}", number * 3), -1 + 2, "before")).collect();
    Song::bulk_create_new(&db.pool, there.clone()).await.unwrap();
    // Known and new ones in turn, in no order; each key up to three times, near and far.
    let numbers = (0..2_500).map(|number| (number * 7_919) % 1_201).chain([5, 5, 6, 6, 5]);
    let rows: Vec<NewSong> =
        numbers.enumerate().map(|(place, number)| song(&format!("song {number}"), place as i64, "now")).collect();

    let outcomes = Song::bulk_get_or_create(&db.pool, rows.clone()).await.unwrap();
    let expected = one_by_one(&there, &rows);
    let expected: Vec<_> =
        expected.into_iter().map(|(created, row)| (created, row.name, row.score, row.added_by)).collect();
    assert_eq!(outcomes.iter().map(plainly).collect::<Vec<_>>(), expected);
    // The ids are those of the rows in the table.
    for outcome in outcomes.iter().step_by(97) {
        assert_eq!(Song::find(&db.pool, outcome.row.key()).await.unwrap().as_ref(), Some(&outcome.row));
    }
    let again = Song::bulk_get_or_create(&db.pool, rows).await.unwrap();
    assert!(again.iter().all(|outcome| !outcome.created));
    assert!(again.iter().zip(&outcomes).all(|(again, first)| again.row == first.row));
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_bulk_upsert_takes_the_last_of_several_rows_with_one_key() {
    let db = tables::fixture().await;
    for name in ["known", "left alone"] {
        Song::upsert(&db.pool, song(name, 0, "before")).await.unwrap();
    }
    let before = Song::find(&db.pool, tables::song_key("known")).await.unwrap().unwrap();
    let rows = [
        song("new", 1, "first"),
        song("known", 2, "second"),
        song("new", 3, "third"),
        song("once", 4, "fourth"),
        song("known", 5, "fifth"),
        song("new", 6, "sixth"),
    ];
    let done = Song::bulk_upsert(&db.pool, rows).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 6, created: 2, updated: 1 });
    assert_eq!(done.to_string(), "2 of 6 records added, 1 updated");

    let found = Song::find_all(&db.pool, ["known", "left alone", "new", "once"].map(tables::song_key)).await.unwrap();
    let plainly: Vec<_> =
        found.iter().flatten().map(|row| (row.name.as_str(), row.score, row.added_by.as_str())).collect();
    // As if done one by one: the first row of a new key makes it, and so says what is create-only; the last gives it its other values.
    let expected = [("known", 5, "before"), ("left alone", 0, "before"), ("new", 6, "first"), ("once", 4, "fourth")];
    assert_eq!(plainly, expected);
    assert_eq!(found[0].as_ref().unwrap().id, before.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_one_by_one_and_in_bulk_come_to_the_same_upserts() {
    let (together, alone) = (tables::fixture().await, tables::fixture().await);
    let rows: Vec<NewSong> =
        (0..600).map(|place| song(&format!("{}", (place * 31) % 97), place, &place.to_string())).collect();
    for batch in rows.chunks(200) {
        let mut counts = BulkUpserted { received: batch.len() as u64, ..BulkUpserted::default() };
        let mut made = Vec::new();
        for row in batch {
            let outcome = Song::upsert(&alone.pool, row.clone()).await.unwrap();
            counts.created += u64::from(outcome.created);
            made.push((outcome.row.name, outcome.created));
        }
        let mut names: Vec<&String> = made.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        counts.updated = names.len() as u64 - counts.created;
        assert_eq!(Song::bulk_upsert(&together.pool, batch.to_vec()).await.unwrap(), counts);
    }
    let keys = || (0..97).map(|number| tables::song_key(&number.to_string()));
    // The order of the ids is the database's affair.
    let values = |rows: Vec<Option<Song>>| -> Vec<_> {
        rows.into_iter().map(|song| song.map(|song| (song.name, song.score, song.added_by))).collect()
    };
    let (together, alone) =
        (Song::find_all(&together.pool, keys()).await.unwrap(), Song::find_all(&alone.pool, keys()).await.unwrap());
    assert_eq!(values(together), values(alone));
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_where_nothing_may_change_a_bulk_upsert_counts_the_rows_that_were_there() {
    let db = tables::fixture().await;
    let made = Member::upsert(&db.pool, member(1, "ann", 2001)).await.unwrap().row;
    let rows = [member(1, "ann", 2002), member(1, "bob", 2003), member(1, "ann", 2004), member(1, "bob", 2005)];
    let done = Member::bulk_upsert(&db.pool, rows.clone()).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 4, created: 1, updated: 1 });
    assert_eq!(db.numbers("SELECT since FROM members ORDER BY since").await, [2001, 2003]);
    let found = Member::bulk_get_or_create(&db.pool, rows).await.unwrap();
    assert_eq!(found[2], Outcome { row: made, created: false });

    let words = ["a", "b", "a"].map(|word| Word { word: word.into() });
    assert_eq!(
        Word::bulk_upsert(&db.pool, words.clone()).await.unwrap(),
        BulkUpserted { received: 3, created: 2, updated: 0 }
    );
    assert_eq!(
        Word::bulk_upsert(&db.pool, words.clone()).await.unwrap(),
        BulkUpserted { received: 3, created: 0, updated: 2 }
    );
    let rows = Word::bulk_get_or_create(&db.pool, words.clone()).await.unwrap();
    assert_eq!(rows.into_iter().map(Outcome::into_row).collect::<Vec<_>>(), words);
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_in_one_batch_too_the_database_decides_what_is_equal() {
    let pairs = [("Case", "case"), ("space", "space "), ("É", "é"), ("straße", "strasse"), ("a", "b")];
    let db = tables::fixture().await;
    for (first, second) in pairs {
        db.run("DELETE FROM topics").await;
        db.run(&format!("INSERT INTO topics (code, title) VALUES ('{first}', 'plain')")).await;
        let equal =
            db.try_run(&format!("INSERT INTO topics (code, title) VALUES ('{second}', 'plain')")).await.is_err();
        db.run("DELETE FROM topics").await;

        let rows = || [topic(first, "1"), topic(second, "2"), topic(first, "3"), topic(second, "4")];
        let outcomes = Topic::bulk_get_or_create(&db.pool, rows()).await.unwrap();
        let given: Vec<_> = outcomes
            .iter()
            .map(|outcome| (outcome.row.code.as_str(), outcome.row.title.as_str(), outcome.created))
            .collect();
        let of_second = |created| if equal { (first, "1", false) } else { (second, "2", created) };
        assert_eq!(
            given,
            [(first, "1", true), of_second(true), (first, "1", false), of_second(false)],
            "{first:?} {second:?}"
        );

        for there in [true, false] {
            let done = Topic::bulk_upsert(&db.pool, rows()).await.unwrap();
            let rows = if equal { 1 } else { 2 };
            let expected = if there { (0, rows) } else { (rows, 0) };
            assert_eq!(
                (done.received, done.created, done.updated),
                (4, expected.0, expected.1),
                "{first:?} {second:?}"
            );
            let found = Topic::find_all(
                &db.pool,
                [first, second].map(|code| topic(code, "")).map(|new| tables::TopicKey { code: new.code }),
            );
            let found: Vec<_> = found.await.unwrap().into_iter().flatten().map(|row| (row.code, row.title)).collect();
            let expected = if equal { [(first, "4"), (first, "4")] } else { [(first, "3"), (second, "4")] };
            assert_eq!(
                found,
                expected.map(|(code, title)| (code.to_owned(), title.to_owned())),
                "{first:?} {second:?}"
            );
            db.run("DELETE FROM topics").await;
        }
    }
    let rows = Tag::bulk_get_or_create(&db.pool, [tag("none", "generated"), tag("none", "again")]).await.unwrap();
    assert_eq!(rows.iter().map(|outcome| outcome.row.label.as_str()).collect::<Vec<_>>(), ["generated", "generated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r7_bulk_get_or_create_never_changes_a_row_that_is_found() {
    let db = tables::fixture().await;
    let before: Vec<Song> = {
        let rows = (0..50).map(|number| song(&number.to_string(), number, "before"));
        Song::bulk_get_or_create(&db.pool, rows).await.unwrap().into_iter().map(Outcome::into_row).collect()
    };
    let rows = (0..100).map(|number| song(&number.to_string(), 1_000, "after"));
    let after = Song::bulk_get_or_create(&db.pool, rows).await.unwrap();
    assert_eq!(after[..50].iter().map(|outcome| &outcome.row).collect::<Vec<_>>(), before.iter().collect::<Vec<_>>());
    assert_eq!(
        after.iter().map(|outcome| outcome.created).collect::<Vec<_>>(),
        (0..100).map(|number| number >= 50).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_the_bulk_calls_cost_as_many_statements_for_ten_rows_as_for_five_thousand() {
    let db = Fixture::new().await;
    // Statements that fill the temporary table come in chunks; all others are counted.
    let merged = |statements: &[String]| {
        data(statements).into_iter().filter(|sql| !(sql.contains("INSERT INTO") && sql.contains("VALUES"))).count()
    };
    let (mut counts, mut of_create) = (Vec::new(), Vec::new());
    for rows in [10, 1_500, 5_000] {
        for _ in 0..2 {
            let (outcomes, got) = statements(Retweet::bulk_get_or_create(&db.pool, retweets(0..rows))).await;
            assert_eq!(outcomes.unwrap().len() as i64, rows);
            let (done, upserted) = statements(Retweet::bulk_upsert(&db.pool, retweets(0..rows))).await;
            assert_eq!(done.unwrap().updated as i64, rows);
            let (done, created) = statements(Retweet::bulk_create_new(&db.pool, retweets(0..rows))).await;
            assert_eq!(done.unwrap().created, 0);
            let staged = got.len() - merged(&got);
            assert!(staged < 15, "a chunk carries hundreds of rows: {staged}");
            counts.push([merged(&got), merged(&upserted)]);
            of_create.push(merged(&created));
        }
    }
    assert!(counts[2..].iter().all(|of_call| *of_call == counts[2]), "the same for many, known and new: {counts:?}");
    let is_fewer = |few: &[usize; 2]| few.iter().zip(&counts[2]).all(|(few, many)| few <= many);
    assert!(counts[..2].iter().all(is_fewer), "few cost no more: {counts:?}");
    assert!(counts[2].iter().chain(&of_create).all(|count| *count < 12), "{counts:?}, {of_create:?}");
    // A few rows may need no temporary table.
    assert!(of_create[0] <= of_create[2] && of_create[2..].iter().all(|count| *count == of_create[2]), "{of_create:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_bulk_get_or_create_and_bulk_upsert_use_up_no_id_for_rows_that_are_found_or_come_twice() {
    let db = Fixture::new().await;
    let rows = || retweets((0..500).map(|number| number % 250));
    for _ in 0..4 {
        Retweet::bulk_get_or_create(&db.pool, rows()).await.unwrap();
        Retweet::bulk_upsert(&db.pool, rows()).await.unwrap();
    }
    Retweet::bulk_upsert(&db.pool, retweets(250..255)).await.unwrap();
    Retweet::bulk_get_or_create(&db.pool, retweets(255..260)).await.unwrap();
    let ids = db.numbers("SELECT id FROM retweets ORDER BY id").await;
    // InnoDB hands out the ids of one INSERT .. SELECT in blocks, each twice as large as the one before, and drops what is left of the last.
    let most = if Db::NAME == "MySQL" { 2 * 260 } else { 260 };
    assert_eq!(ids.len(), 260);
    assert!(ids[259] - ids[0] < most, "the ids have gaps: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_a_call_that_fails_leaves_nothing_and_a_transaction_goes_on() {
    let db = Fixture::with_connections(1).await;
    Account::get_or_create(&db.pool, account("a@x", "taken")).await.unwrap();
    let good = |number: i64| account(&format!("{number}@x"), &format!("{number}"));
    let bad = [
        ("another index", account("z@x", "taken")),
        ("another index, within the call", account("z@x", "7")),
        ("check", NewAccount { age: -1, ..account("z@x", "z") }),
    ];
    for (name, bad) in bad {
        let rows = || (0..1_200).map(good).chain([bad.clone()]);
        let expected = if name == "check" { "Sql" } else { "OtherUnique" };
        assert_eq!(kind(&Account::bulk_get_or_create(&db.pool, rows()).await.unwrap_err()), expected, "{name}");
        assert_eq!(kind(&Account::bulk_upsert(&db.pool, rows()).await.unwrap_err()), expected, "{name}");
        db.assert_pool_clean(name).await;
        assert_eq!(db.count("accounts").await, 1, "{name}");

        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Account::get_or_create(&mut tx, account("before@x", "before")).await.unwrap();
        assert_eq!(kind(&Account::bulk_get_or_create(&mut tx, rows()).await.unwrap_err()), expected, "{name}");
        assert_eq!(kind(&Account::bulk_upsert(&mut tx, rows()).await.unwrap_err()), expected, "{name}");
        let inside: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(inside, 2, "{name}");
        assert_eq!(Account::bulk_get_or_create(&mut tx, [good(1)]).await.unwrap().len(), 1, "{name}");
        tx.rollback().await.unwrap();
    }
    // A row that was there is given values that another has.
    Account::get_or_create(&db.pool, account("b@x", "b")).await.unwrap();
    let error = Account::bulk_upsert(&db.pool, [good(1), account("b@x", "taken")]).await.unwrap_err();
    assert_eq!(kind(&error), "OtherUnique", "{error}");
    assert!(!error.to_string().contains("taken"), "a row's values are no part of the message: {error}");
    assert_eq!(db.numbers("SELECT count(*) FROM accounts WHERE handle IN ('taken', 'b')").await, [2]);
    db.assert_pool_clean("after a refused update").await;
}
