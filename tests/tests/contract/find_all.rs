//! Many rows by their keys: `find_all`.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use upsertable::{Upsertable as _, testing::statements};
use upsertable_tests::{
    TestDb as _,
    models::{
        Account, AccountHandleKey, AccountIdKey, Loose, LooseKey, Retweet, RetweetKey, Setting, SettingKey, Tag,
        TagKey, Word, WordKey, account, by_email, retweet, tag,
    },
    panic_text,
};

use super::{Fixture, Subject, kind};

fn keys(numbers: impl Iterator<Item = i64> + Clone + Send) -> impl Iterator<Item = RetweetKey> + Clone + Send {
    numbers.map(|retweeter| RetweetKey { tweet: 1, retweeter })
}

/// Retweeters that were found, in order.
fn retweeters(found: &[Option<Retweet>]) -> Vec<Option<i64>> {
    found.iter().map(|row| row.as_ref().map(|row| row.retweeter)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn find_all_gives_one_answer_for_each_key_in_the_order_of_the_keys() {
    let db = Fixture::new().await;
    Retweet::bulk_create_new(&db.pool, (0..10).map(|number| retweet(1, number))).await.unwrap();
    let asked = [7, 70, 0, 7, -1, 9, 7, 70];
    let found = Retweet::find_all(&db.pool, keys(asked.into_iter())).await.unwrap();
    assert_eq!(retweeters(&found), [Some(7), None, Some(0), Some(7), None, Some(9), Some(7), None]);
    for row in found.iter().flatten() {
        assert_eq!(Retweet::find(&db.pool, row.key()).await.unwrap().as_ref(), Some(row), "what find gives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn find_all_of_no_keys_runs_nothing_and_needs_no_connection() {
    let db = Fixture::with_connections(1).await;
    let held = db.pool.acquire().await.unwrap();
    let (found, seen) = statements(Retweet::find_all(&db.pool, Vec::<RetweetKey>::new())).await;
    assert_eq!((found.unwrap(), seen), (Vec::new(), Vec::new()));
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn find_all_takes_more_keys_than_a_statement_carries() {
    let db = Fixture::new().await;
    Retweet::bulk_create_new(&db.pool, (0..40_000).step_by(3).map(|number| retweet(1, number))).await.unwrap();
    let found = Retweet::find_all(&db.pool, keys((0..40_000).rev())).await.unwrap();
    let expected: Vec<Option<i64>> = (0..40_000).rev().map(|number| (number % 3 == 0).then_some(number)).collect();
    assert_eq!(retweeters(&found), expected);

    let word = |number: i64| format!("word {number}");
    Word::bulk_create_new(&db.pool, (0..100).map(|number| Word { word: word(number) })).await.unwrap();
    let keys = (0..70_000).map(|number| WordKey { word: word(number % 200) });
    let found = Word::find_all(&db.pool, keys).await.unwrap();
    assert_eq!(found.len(), 70_000);
    for (number, row) in (0..).zip(&found) {
        assert_eq!(row.as_ref().map(|row| row.word.clone()), (number % 200 < 100).then(|| word(number % 200)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_find_all_costs_as_many_statements_for_ten_keys_as_for_five_thousand() {
    let db = Fixture::new().await;
    Retweet::bulk_create_new(&db.pool, (0..5_000).map(|number| retweet(1, number))).await.unwrap();
    let (few, small) = statements(Retweet::find_all(&db.pool, keys(0..10))).await;
    let (many, large) = statements(Retweet::find_all(&db.pool, keys(0..5_000))).await;
    assert_eq!((few.unwrap().len(), many.unwrap().len()), (10, 5_000));
    // Many keys have a transaction around them where the database may stand behind a pooler.
    let large: Vec<_> = large.into_iter().filter(|sql| !matches!(sql.as_str(), "BEGIN" | "COMMIT")).collect();
    assert_eq!(
        (small.len(), large.len()),
        (1, 1),
        "{small:?} {:?}",
        large.iter().map(|sql| &sql[..60]).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn find_all_takes_any_key_of_the_model() {
    let db = Fixture::new().await;
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        ids.push(Account::get_or_create(&db.pool, account(&format!("{name}@x"), name)).await.unwrap().row.id);
    }
    let names =
        |found: Vec<Option<Account>>| found.into_iter().map(|row| row.map(|row| row.handle)).collect::<Vec<_>>();
    let expected = || vec![Some("b".to_owned()), None, Some("a".to_owned())];
    let by_email = Account::find_all(&db.pool, ["b@x", "c@x", "a@x"].map(by_email)).await.unwrap();
    assert_eq!(names(by_email), expected());
    let by_handle = ["b", "c", "a"].map(|handle| AccountHandleKey { handle: handle.into() });
    assert_eq!(names(Account::find_all(&db.pool, by_handle).await.unwrap()), expected());
    let by_id = [ids[1], -1, ids[0]].map(|id| AccountIdKey { id });
    assert_eq!(names(Account::find_all(&db.pool, by_id).await.unwrap()), expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn find_all_works_on_every_handle_and_sees_what_its_transaction_has_done() {
    let db = Fixture::with_connections(2).await;
    let all = || keys(0..3);
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    assert_eq!(retweeters(&Retweet::find_all(&mut tx, all()).await.unwrap()), [None, Some(1), None]);
    assert_eq!(retweeters(&Retweet::find_all(&mut *tx, all()).await.unwrap()), [None, Some(1), None]);
    assert_eq!(retweeters(&Retweet::find_all(&db.pool, all()).await.unwrap()), [None, None, None]);
    tx.commit().await.unwrap();
    let mut conn = db.pool.acquire().await.unwrap();
    assert_eq!(retweeters(&Retweet::find_all(&mut *conn, all()).await.unwrap()), [None, Some(1), None]);
    let mut theirs = db.pool.begin().await.unwrap();
    assert_eq!(retweeters(&Retweet::find_all(&mut *theirs, all()).await.unwrap()), [None, Some(1), None]);
    theirs.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_find_all_leaves_it_to_the_database_what_is_equal() {
    let db = Fixture::new().await;
    Tag::bulk_create_new(&db.pool, [tag("Case", "1"), tag("other", "2")]).await.unwrap();
    for code in ["Case", "case", "CASE", "Case ", "other", "öther"] {
        let key = || TagKey { code: code.into() };
        let one = Tag::find(&db.pool, key()).await.unwrap();
        let all = Tag::find_all(&db.pool, [key(), TagKey { code: "none".into() }, key()]).await.unwrap();
        assert_eq!(all, [one.clone(), None, one], "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r5_find_all_by_a_key_in_which_null_matches_null() {
    let db = Fixture::new().await;
    let keys = || [None, Some(1)].map(|scope| SettingKey { scope, name: "theme".into() });
    if Subject::NULLS_NOT_DISTINCT {
        db.run("INSERT INTO settings (scope, name, value) VALUES (NULL, 'theme', 'dark')").await;
        let found = Setting::find_all(&db.pool, keys()).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        return;
    }
    assert_eq!(kind(&Setting::find_all(&db.pool, keys()).await.unwrap_err()), "Unsupported");
}

#[tokio::test(flavor = "multi_thread")]
async fn find_all_by_a_key_that_finds_two_rows_is_an_error() {
    let db = Fixture::new().await;
    let keys = || (0..3).map(|b| LooseKey { a: 1, b });
    for b in [0, 2, 2] {
        db.run(&format!("INSERT INTO loose (a, b, label) VALUES (1, {b}, 'x')")).await;
    }
    let error = Loose::find_all(&db.pool, keys()).await.unwrap_err();
    assert_eq!(kind(&error), "ManyRows", "{error}");
    assert!(error.to_string().starts_with("Loose::find_all"), "{error}");
    // Without the row that is there twice, nothing is wrong: to find, no index is needed.
    let found = Loose::find_all(&db.pool, keys().take(2)).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    // One key missing and one there twice are as many rows as keys.
    let error = Loose::find_all(&db.pool, keys().skip(1)).await.unwrap_err();
    assert_eq!(kind(&error), "ManyRows", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_keys_goes_through_find_all_and_the_connection_is_clean() {
    let db = Fixture::with_connections(1).await;
    let panicking = || keys(0..70_000).inspect(|key| assert!(key.retweeter < 69_999, "no key {}", key.retweeter));
    let panic = AssertUnwindSafe(Retweet::find_all(&db.pool, panicking())).catch_unwind().await.unwrap_err();
    assert_eq!(panic_text(&*panic), "no key 69999");
    db.assert_pool_clean("after a panic in the keys").await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    AssertUnwindSafe(Retweet::find_all(&mut tx, panicking())).catch_unwind().await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, 1, "nothing was written half-way, so the transaction goes on");
}
