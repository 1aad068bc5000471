//! Transaction control by plain SQL inside a transaction of ours.
//!
//! Nothing is told to be saved that is not.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, future::BoxFuture};
use sqlx::{Database, Executor as _, SqlSafeStr as _, Statement as _};
use upsertable::{EndReason, Error, Transaction, Upsertable as _};
use upsertable_tests::{
    TestDb as _,
    models::{Retweet, RetweetKey, retweet},
};

use super::{Db, Fixture, plain};
use crate::Subject;

/// Ways in which the caller runs a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Query,
    /// Runs a statement that was prepared before.
    Prepared,
    /// Runs the text as such, which takes several statements.
    Raw,
    /// Runs a stream that is given up at its first answer.
    Stream,
    FetchOptional,
}

const WAYS: [Way; 5] = [Way::Query, Way::Prepared, Way::Raw, Way::Stream, Way::FetchOptional];

/// Runs a text in this way.
///
/// Servers that cannot do so say it, and then the text has not been run.
async fn run(tx: &mut Transaction<Db>, way: Way, text: &str) -> Result<(), sqlx::Error> {
    let sql = plain(text);
    match way {
        Way::Query => sqlx::query(sql).execute(&mut **tx).await.map(drop),
        Way::Prepared => {
            let statement = (&mut **tx).prepare(sql.into_sql_str()).await?;
            statement.query().execute(&mut **tx).await.map(drop)
        }
        Way::Raw => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop),
        Way::Stream => {
            let mut steps = (&mut **tx).fetch_many(sqlx::raw_sql(sql));
            steps.next().await.unwrap().map(drop)
        }
        Way::FetchOptional => (&mut **tx).fetch_optional(sqlx::raw_sql(sql)).await.map(drop),
    }
}

/// Effect of a text on the transaction around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Ends it, so that what ran before is gone.
    Undone,
    /// Ends it, so that what ran before is saved.
    Saved,
    Nothing,
}

use Fate::{Nothing, Saved, Undone};

/// Texts that end a transaction or look so.
///
/// Each comes with the word that is blamed.
fn texts() -> Vec<(&'static str, Fate, &'static str)> {
    let mut texts = vec![
        ("ROLLBACK", Undone, "ROLLBACK"),
        ("COMMIT", Saved, "COMMIT"),
        ("/* all of it; */ -- really;\n  rollback", Undone, "ROLLBACK"),
        ("SELECT ';'; COMMIT", Saved, "COMMIT"),
        ("ROLLBACK; SELECT 1", Undone, "ROLLBACK"),
        ("SELECT 'ROLLBACK; COMMIT; '", Nothing, ""),
        ("SAVEPOINT a; RELEASE SAVEPOINT a", Nothing, ""),
        ("SAVEPOINT a; ROLLBACK TO SAVEPOINT a; RELEASE SAVEPOINT a", Nothing, ""),
    ];
    texts.extend(match <Db as Database>::NAME {
        "PostgreSQL" => vec![
            ("END", Saved, "END"),
            ("ABORT", Undone, "ABORT"),
            ("ROLLBACK WORK", Undone, "ROLLBACK"),
            ("ROLLBACK; BEGIN", Undone, "ROLLBACK"),
            ("COMMIT; START TRANSACTION", Saved, "COMMIT"),
            ("COMMIT AND CHAIN", Saved, "COMMIT"),
            ("ROLLBACK AND CHAIN", Undone, "ROLLBACK"),
            ("BEGIN", Nothing, ""),
            ("START TRANSACTION", Nothing, ""),
            ("DO $$ BEGIN PERFORM 1; END $$", Nothing, ""),
            ("CREATE TABLE made (a INT)", Nothing, ""),
            ("CREATE FUNCTION one() RETURNS INT BEGIN ATOMIC SELECT 1; SELECT 2; END", Nothing, ""),
            ("DECLARE mine CURSOR FOR SELECT 1", Nothing, ""),
        ],
        "SQLite" => vec![
            ("END", Saved, "END"),
            ("END TRANSACTION", Saved, "END"),
            ("ROLLBACK TRANSACTION", Undone, "ROLLBACK"),
            ("ROLLBACK; BEGIN", Undone, "ROLLBACK"),
            ("COMMIT; BEGIN IMMEDIATE", Saved, "COMMIT"),
            ("CREATE TABLE made (a INT)", Nothing, ""),
            (
                "CREATE TRIGGER made AFTER DELETE ON retweets BEGIN DELETE FROM retweets WHERE id = 0; SELECT 1; END",
                Nothing,
                "",
            ),
        ],
        _ => vec![
            ("ROLLBACK WORK", Undone, "ROLLBACK"),
            ("ROLLBACK; BEGIN", Undone, "ROLLBACK"),
            ("COMMIT AND CHAIN", Saved, "COMMIT"),
            ("ROLLBACK AND CHAIN", Undone, "ROLLBACK"),
            ("BEGIN", Saved, "BEGIN"),
            ("START TRANSACTION", Saved, "START"),
            ("CREATE TABLE made (a INT)", Saved, "CREATE"),
            ("CREATE TABLE retweets (a INT)", Saved, "CREATE"),
            ("ALTER TABLE retweets COMMENT 'x'", Saved, "ALTER"),
            ("TRUNCATE TABLE others", Saved, "TRUNCATE"),
            ("ANALYZE TABLE others", Saved, "ANALYZE"),
            ("SET autocommit = 1; SELECT 1", Nothing, ""),
            ("SET autocommit = 0; SET autocommit = 1", Saved, "SET"),
            ("SET NAMES utf8mb4", Nothing, ""),
            ("CREATE TEMPORARY TABLE made (a INT)", Nothing, ""),
            ("/*!50000 COMMIT */", Saved, "in a comment"),
            (r"SELECT 'a\''; COMMIT -- '", Saved, "COMMIT"),
            ("CALL commits()", Saved, "one that can commit"),
            ("CALL selects()", Nothing, ""),
        ],
    });
    texts
}

async fn fixture() -> Fixture {
    let db = Fixture::with_connections(1).await;
    if <Db as Database>::NAME == "MySQL" {
        db.run("CREATE TABLE others (a INT)").await;
        db.run("CREATE PROCEDURE commits() COMMIT").await;
        db.run("CREATE PROCEDURE selects() DO 1").await;
        db.run(
            "CREATE FUNCTION loses() RETURNS INT DETERMINISTIC BEGIN \
             SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'lost'; RETURN 1; END",
        )
        .await;
    }
    db
}

/// Record of the callbacks that have run.
#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Vec<&'static str>>>);

impl Ran {
    fn on_commit(&self, tx: &mut Transaction<Db>, line: &'static str) {
        let ran = self.clone();
        tx.on_commit(async move { ran.0.lock().unwrap().push(line) });
    }

    fn lines(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

fn assert_blamed(error: &Error, word: &str, when: &str) {
    let Error::Ended { reason: EndReason::Statement(said) | EndReason::ImplicitCommit(said), .. } = error else {
        panic!("{when}: {error:?}")
    };
    assert_eq!(*said, word, "{when}");
    assert!(error.to_string().contains(word) && !error.is_retryable(), "{when}: {error}");
}

/// Work that follows on the text, inside the transaction.
type Then = for<'t> fn(&'t mut Transaction<Db>) -> BoxFuture<'t, Result<(), Error>>;

/// All calls, each with a write that needs the transaction.
///
/// Each would write outside any transaction if it were let.
const CALLS: [(&str, Then); 9] = [
    ("nothing", |_| Box::pin(async { Ok(()) })),
    ("get_or_create", |tx| Box::pin(async { Retweet::get_or_create(tx, retweet(9, 9)).await.map(drop) })),
    ("upsert", |tx| Box::pin(async { Retweet::upsert(tx, retweet(9, 9)).await.map(drop) })),
    ("bulk_create_new", |tx| Box::pin(async { Retweet::bulk_create_new(tx, [retweet(9, 9)]).await.map(drop) })),
    ("bulk_get_or_create", |tx| Box::pin(async { Retweet::bulk_get_or_create(tx, [retweet(9, 9)]).await.map(drop) })),
    ("bulk_upsert", |tx| Box::pin(async { Retweet::bulk_upsert(tx, [retweet(9, 9)]).await.map(drop) })),
    ("find_all", |tx| {
        Box::pin(async { Retweet::find_all(tx, [RetweetKey { tweet: 9, retweeter: 9 }]).await.map(drop) })
    }),
    ("savepoint", |tx| {
        Box::pin(async { tx.savepoint(async |tx| Retweet::get_or_create(tx, retweet(9, 9)).await.map(drop)).await })
    }),
    ("plain sql", |tx| {
        let insert = "INSERT INTO retweets (tweet, retweeter, original_author) VALUES (9, 9, 9)";
        Box::pin(async move { Ok(sqlx::query(insert).execute(&mut **tx).await.map(drop)?) })
    }),
];

/// The error that plain sqlx was given on our behalf.
fn ours(error: Error) -> Error {
    match error {
        Error::Sql(sqlx::Error::AnyDriverError(inner)) => *inner.downcast().unwrap(),
        other => other,
    }
}

/// Removes all that a text leaves behind.
async fn reset(db: &Fixture) {
    db.run("DELETE FROM retweets").await;
    match <Db as Database>::NAME {
        "PostgreSQL" => db.run("DROP FUNCTION IF EXISTS one()").await,
        "SQLite" => db.run("DROP TRIGGER IF EXISTS made").await,
        _ => 0,
    };
    db.run("DROP TABLE IF EXISTS made").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_a_statement_of_the_caller_that_ends_the_transaction_is_seen() {
    let db = fixture().await;
    for (text, fate, word) in texts() {
        for way in WAYS {
            for (call, then) in &CALLS[..if way == Way::Raw && fate != Nothing { CALLS.len() } else { 2 }] {
                reset(&db).await;
                let ran = Ran::default();
                let when = format!("{text} by {way:?}, then {call}");
                let mut tx = upsertable::begin(&db.pool).await.unwrap();
                Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
                ran.on_commit(&mut tx, "ran");
                let done = run(&mut tx, way, text).await;
                let then = then(&mut tx).await.map_err(ours);
                let committed = tx.commit().await;
                // The callers are told the truth, whatever the server makes of the text.
                let rows = db.count("retweets").await;
                let first = db.numbers("SELECT count(*) FROM retweets WHERE tweet = 1").await;
                assert_eq!(ran.lines().is_empty(), committed.is_err(), "{when}: {committed:?}");
                assert!(committed.is_err() || first == [1], "{when}");
                // And of what was run from end to end it is known what it does.
                if way == Way::Raw || (way != Way::Stream && done.is_ok() && !text.contains("; ")) {
                    match (fate, committed) {
                        (Nothing, committed) => drop(committed.unwrap_or_else(|error| panic!("{when}: {error}"))),
                        (_, committed) => {
                            assert_blamed(&committed.unwrap_err(), word, &when);
                            assert!(*call == "nothing" || then.is_err(), "{when}");
                            assert_eq!(rows, i64::from(fate == Saved), "{when}");
                        }
                    }
                }
                db.assert_pool_clean(&when).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_what_runs_after_the_end_is_refused_and_leaves_nothing_at_a_rollback() {
    let db = fixture().await;
    for (call, then) in &CALLS[1..] {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
        run(&mut tx, Way::Query, "ROLLBACK").await.unwrap();
        for _ in 0..2 {
            assert_blamed(&ours(then(&mut tx).await.unwrap_err()), "ROLLBACK", call);
        }
        tx.rollback().await.unwrap();
        assert_eq!(db.count("retweets").await, 0, "{call}");
        db.assert_pool_clean(call).await;
    }
}

/// A statement that fails can end the transaction too.
///
/// On PostgreSQL a COMMIT does whose deferred constraints do not hold. What ran after it would be saved by itself.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_commit_of_the_caller_that_fails_leaves_nothing_to_what_comes_after() {
    if !Subject::DEFERRED_CONSTRAINTS {
        return;
    }
    let db = fixture().await;
    for text in ["COMMIT", "COMMIT; SELECT 1", "SELECT 1; COMMIT"] {
        for (call, then) in &CALLS {
            let ran = Ran::default();
            let when = format!("{text}, then {call}");
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            ran.on_commit(&mut tx, "ran");
            let pledge = "INSERT INTO pledges (code, account) VALUES ('p', 4711)";
            run(&mut tx, Way::Query, pledge).await.unwrap();
            run(&mut tx, Way::Raw, text).await.unwrap_err();
            let then = then(&mut tx).await.map_err(ours);
            if <Db as Database>::NAME == "PostgreSQL" && *call != "nothing" {
                assert_eq!(super::kind(&then.unwrap_err()), "Ended", "{when}");
            }
            tx.commit().await.unwrap_err();
            assert_eq!(ran.lines(), [""; 0], "{when}");
            assert_eq!(db.count("retweets").await + db.count("pledges").await, 0, "{when}");
            db.assert_pool_clean(&when).await;
        }
    }
}

/// The end of a transaction is seen after a failed statement too.
///
/// On PostgreSQL the transaction is aborted then, and takes no savepoint to ask for.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_rollback_of_the_caller_after_a_failed_statement_is_seen() {
    let db = fixture().await;
    for text in ["ROLLBACK", "ROLLBACK; BEGIN"] {
        for (call, then) in &CALLS {
            let ran = Ran::default();
            let when = format!("{text}, then {call}");
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
            ran.on_commit(&mut tx, "ran");
            run(&mut tx, Way::Raw, "SELECT * FROM no_such_table").await.unwrap_err();
            run(&mut tx, Way::Raw, text).await.unwrap();
            let then = then(&mut tx).await.map_err(ours);
            assert!(*call == "nothing" || then.is_err(), "{when}");
            assert_blamed(&tx.commit().await.unwrap_err(), "ROLLBACK", &when);
            assert_eq!(ran.lines(), [""; 0], "{when}");
            db.assert_pool_clean(&when).await;
            assert_eq!(db.count("retweets").await, 0, "{when}");
        }
    }
}

/// Another transaction on the connection is not ours.
///
/// What is begun behind our back is not what the callbacks wait for, and is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn c7_another_transaction_on_the_connection_is_not_ours() {
    let db = fixture().await;
    for text in ["ROLLBACK; BEGIN", "COMMIT; BEGIN"] {
        reset(&db).await;
        let ran = Ran::default();
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        ran.on_commit(&mut tx, "ran");
        let insert = "INSERT INTO retweets (tweet, retweeter, original_author) VALUES (2, 2, 2)";
        let text = format!("{text}; {insert}");
        run(&mut tx, Way::Raw, &text).await.unwrap();
        let error = tx.commit().await.unwrap_err();
        assert_eq!(super::kind(&error), "Ended", "{text}: {error}");
        assert_eq!(ran.lines(), [""; 0], "{text}");
        db.assert_pool_clean(&text).await;
        assert_eq!(db.count("retweets").await, 0, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_a_closure_that_ends_its_transaction_is_not_run_again() {
    let db = fixture().await;
    for text in ["ROLLBACK", "COMMIT"] {
        let runs = Mutex::new(0);
        let outcome = upsertable::transaction(&db.pool, async |tx| {
            *runs.lock().unwrap() += 1;
            run(tx, Way::Query, text).await?;
            Ok::<_, Error>(())
        });
        assert_blamed(&outcome.await.unwrap_err(), text, text);
        assert_eq!(*runs.lock().unwrap(), 1, "{text}");
        db.assert_pool_clean(text).await;
    }
}

/// Nor is a closure that ends it and loses against another transaction then.
///
/// What it has committed would be done twice.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_closure_that_ends_its_transaction_and_loses_then_is_not_run_again() {
    let texts = match <Db as Database>::NAME {
        "PostgreSQL" => {
            let lose = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$";
            vec![
                (format!("ROLLBACK; {lose}"), 0),
                (format!("COMMIT; {lose}"), 1),
                (format!("SELECT 1; END; {lose}"), 1),
            ]
        }
        "MySQL" => vec![
            ("ROLLBACK; SELECT loses()".to_owned(), 0),
            ("COMMIT; SELECT loses()".to_owned(), 1),
            ("CREATE TABLE made AS SELECT loses()".to_owned(), 1),
        ],
        // No statement by itself loses there.
        _ => return,
    };
    let db = fixture().await;
    for (text, rows) in texts {
        for hidden in [false, true] {
            reset(&db).await;
            let runs = Mutex::new(0);
            let outcome = upsertable::transaction(&db.pool, async |tx| {
                *runs.lock().unwrap() += 1;
                Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
                let lost = run(tx, Way::Raw, &text).await.unwrap_err();
                if hidden { Ok(()) } else { Err(Error::from(lost)) }
            });
            outcome.await.unwrap_err();
            assert_eq!(*runs.lock().unwrap(), 1, "{text}, {hidden}");
            assert_eq!(db.count("retweets").await, rows, "{text}, {hidden}");
            db.assert_pool_clean(&text).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_a_savepoint_whose_transaction_is_over_says_so() {
    let db = fixture().await;
    let text = if <Db as Database>::NAME == "MySQL" { "CREATE TABLE made (a INT)" } else { "ROLLBACK" };
    let ran = Ran::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let outcome: Result<(), Error> = tx
        .savepoint(async |tx| {
            ran.on_commit(tx, "inside");
            Ok(run(tx, Way::Query, text).await?)
        })
        .await;
    let word = text.split(' ').next().unwrap();
    assert_blamed(&outcome.unwrap_err(), word, "savepoint");
    assert_blamed(&tx.commit().await.unwrap_err(), word, "commit");
    assert_eq!(ran.lines(), [""; 0]);
    db.assert_pool_clean(text).await;
}

/// Runs texts between rows and callbacks, which their savepoints may undo.
///
/// Returns the rows that a hook is told of, and the callbacks, by what the caller's own savepoints leave of them.
async fn with_savepoints(texts: &[&str]) -> (Result<(), Error>, Vec<i64>, Vec<&'static str>) {
    const LINES: [&str; 9] = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
    let db = fixture().await;
    let ran = Ran::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let tells = Arc::clone(&told);
    Retweet::after_commit(&mut tx, async move |rows: Arc<[Retweet]>| {
        tells.lock().unwrap().extend(rows.iter().map(|row| row.tweet));
    });
    for (number, text) in texts.iter().enumerate() {
        run(&mut tx, Way::Raw, text).await.unwrap();
        if let Err(error) = Retweet::get_or_create(&mut tx, retweet(number as i64, 0)).await {
            assert_eq!(super::kind(&error), "Ended", "{text}: {error}");
        }
        ran.on_commit(&mut tx, LINES[number]);
    }
    let committed = tx.commit().await.map(drop);
    let rows = db.numbers("SELECT tweet FROM retweets ORDER BY tweet").await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(if committed.is_ok() { &rows[..] } else { &[] }, told, "{texts:?}");
    (committed, rows, ran.lines())
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_a_rollback_to_the_callers_savepoint_drops_what_was_registered_inside() {
    for (texts, kept) in [
        (&["SAVEPOINT a", "ROLLBACK TO SAVEPOINT a"][..], &["1"][..]),
        (&["SELECT 1", "SAVEPOINT a", "rollback to A", "RELEASE SAVEPOINT a"], &["0", "2", "3"]),
        (&["SAVEPOINT a", "SAVEPOINT b", "SELECT 1", "ROLLBACK TO b", "ROLLBACK TO a"], &["4"]),
        (&["SAVEPOINT a", "SAVEPOINT b", "RELEASE SAVEPOINT b", "SELECT 1"], &["0", "1", "2", "3"]),
        (&["SAVEPOINT a", "SAVEPOINT a", "ROLLBACK TO a"], &["0", "2"]),
        (&["SELECT 1; SAVEPOINT a; SELECT 2", "SELECT 1; ROLLBACK TO a; SELECT 2"], &["1"]),
        (&["SAVEPOINT a; SAVEPOINT b", "ROLLBACK TO a; SAVEPOINT b", "ROLLBACK TO b"], &["2"]),
    ] {
        let (committed, rows, ran) = with_savepoints(texts).await;
        committed.unwrap_or_else(|error| panic!("{texts:?}: {error}"));
        assert_eq!(ran, kept, "{texts:?}");
        assert_eq!(rows, kept.iter().map(|kept| kept.parse().unwrap()).collect::<Vec<i64>>(), "{texts:?}");
    }
}

/// Two savepoints of one name are two, except on MySQL and MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_savepoint_of_the_caller_is_known_behind_another_of_its_name() {
    if <Db as Database>::NAME == "MySQL" {
        return;
    }
    let texts = ["SAVEPOINT a", "SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO a"];
    let (committed, rows, ran) = with_savepoints(&texts).await;
    committed.unwrap();
    assert_eq!((rows, ran), (vec![3], vec!["3"]));

    // The inner one goes with ours around it.
    let db = fixture().await;
    for undone in [false, true] {
        let ran = Ran::default();
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        run(&mut tx, Way::Raw, "SAVEPOINT a").await.unwrap();
        ran.on_commit(&mut tx, "dropped");
        let outcome: Result<(), Error> = tx
            .savepoint(async |tx| {
                run(tx, Way::Raw, "SAVEPOINT a").await?;
                if undone { Err(Error::from(sqlx::Error::RowNotFound)) } else { Ok(()) }
            })
            .await;
        assert_eq!(outcome.is_err(), undone);
        run(&mut tx, Way::Raw, "ROLLBACK TO SAVEPOINT a").await.unwrap();
        ran.on_commit(&mut tx, "kept");
        tx.commit().await.unwrap();
        assert_eq!(ran.lines(), ["kept"], "{undone}");
    }
}

/// A release of a savepoint around ours takes ours with it.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_release_of_a_savepoint_around_ours_ends_the_transaction() {
    let db = fixture().await;
    let ran = Ran::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    run(&mut tx, Way::Raw, "SAVEPOINT a").await.unwrap();
    ran.on_commit(&mut tx, "ran");
    let outcome: Result<(), Error> = tx.savepoint(async |tx| Ok(run(tx, Way::Raw, "RELEASE SAVEPOINT a").await?)).await;
    assert_blamed(&outcome.unwrap_err(), "RELEASE SAVEPOINT", "savepoint");
    assert_blamed(&tx.commit().await.unwrap_err(), "RELEASE SAVEPOINT", "commit");
    assert_eq!(ran.lines(), [""; 0]);
    db.assert_pool_clean("release").await;
}

/// A rollback to a savepoint may run behind an answer that is given up.
///
/// Nobody knows whether it did.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_rollback_to_a_savepoint_that_may_have_run_ends_the_transaction() {
    let db = fixture().await;
    let ran = Ran::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    run(&mut tx, Way::Raw, "SAVEPOINT a").await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    ran.on_commit(&mut tx, "ran");
    run(&mut tx, Way::Stream, "SELECT 1; ROLLBACK TO SAVEPOINT a").await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!(super::kind(&error), "Ended", "{error}");
    assert_eq!(ran.lines(), [""; 0]);
    db.assert_pool_clean("given up").await;
    assert_eq!(db.count("retweets").await, 0);
}

/// A rollback to an unseen savepoint ends the transaction.
///
/// Nobody knows what was registered since: so nothing is kept, and the error says why.
#[tokio::test(flavor = "multi_thread")]
async fn c7_a_rollback_to_a_savepoint_that_was_not_seen_ends_the_transaction() {
    let db = fixture().await;
    for ours_is_between in [false, true] {
        let ran = Ran::default();
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        if ours_is_between {
            run(&mut tx, Way::Raw, "SAVEPOINT a").await.unwrap();
        } else {
            sqlx::raw_sql("SAVEPOINT a").execute(tx.raw()).await.unwrap();
        }
        ran.on_commit(&mut tx, "ran");
        let outcome: Result<(), Error> = if ours_is_between {
            tx.savepoint(async |tx| Ok(run(tx, Way::Raw, "ROLLBACK TO SAVEPOINT a").await?)).await
        } else {
            run(&mut tx, Way::Raw, "ROLLBACK TO SAVEPOINT a").await.map_err(Error::from)
        };
        assert_eq!(outcome.is_err(), ours_is_between);
        assert_blamed(&tx.commit().await.unwrap_err(), "ROLLBACK TO SAVEPOINT", "commit");
        assert_eq!(ran.lines(), [""; 0]);
        db.assert_pool_clean("unseen").await;
    }
}

/// A transaction that ended on the raw connection is over.
///
/// What ran on sqlx's own connection is asked for; whose doing it was is not known.
#[tokio::test(flavor = "multi_thread")]
async fn c7_what_ended_on_the_raw_connection_is_over() {
    let db = fixture().await;
    for text in ["ROLLBACK", "COMMIT"] {
        let ran = Ran::default();
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        ran.on_commit(&mut tx, "ran");
        sqlx::raw_sql(plain(text)).execute(tx.raw()).await.unwrap();
        let error = tx.commit().await.unwrap_err();
        assert!(matches!(error, Error::Ended { reason: EndReason::Unseen, .. }), "{text}: {error:?}");
        assert_eq!(ran.lines(), [""; 0], "{text}");
        db.assert_pool_clean(text).await;
    }
}
