//! Traces of the calls, as seen from outside.
//!
//! Spans, a warning when one was slow, and never a value.

use std::time::Duration;

use futures_util::stream;
use sqlx::Database as _;
use tokio::sync::Mutex;
use tracing::Level;
use upsertable::{BoxError, Error, Upsertable as _, warn_slower_than};
use upsertable_tests::{
    Traced,
    models::{Account, NewAccount, Retweet, RetweetKey, account, by_email, retweet},
    traced,
};

use super::{Db, Fixture, kind};

/// Lock for tests that set the threshold, which is the program's.
///
/// The others may warn too then, and nobody listens there.
static THRESHOLD: Mutex<()> = Mutex::const_new(());

#[track_caller]
fn one<'t>(seen: &'t [Traced], name: &str) -> &'t Traced {
    let found: Vec<&Traced> = seen.iter().filter(|traced| traced.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {seen:#?}");
    found[0]
}

fn counts(span: &Traced) -> [Option<&str>; 3] {
    ["rows", "created", "updated"].map(|field| span.field(field))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_a_span_with_its_table_and_counts() {
    let db = Fixture::new().await;
    let pool = &db.pool;
    let key = || RetweetKey { tweet: 1, retweeter: 1 };
    let rows = || (1..=3).map(|retweeter| retweet(1, retweeter));
    let work = async {
        Retweet::get_or_create(pool, retweet(1, 1)).await?;
        Retweet::get_or_create_with(pool, key(), async || Ok::<_, Error>(retweet(1, 1))).await?;
        Retweet::find(pool, key()).await?;
        Retweet::find_all(pool, [key(), RetweetKey { tweet: 7, retweeter: 7 }]).await?;
        Retweet::upsert(pool, retweet(1, 1)).await?;
        Retweet::bulk_create_new(pool, rows()).await?;
        Retweet::bulk_get_or_create(pool, rows()).await?;
        Retweet::bulk_upsert(pool, rows()).await?;
        Retweet::verify(pool).await?;
        Ok::<_, Error>(())
    };
    let (done, seen) = traced(work).await;
    done.unwrap();
    for (name, expected) in [
        ("get_or_create", [Some("1"), Some("1"), None]),
        ("get_or_create_with", [Some("1"), Some("0"), None]),
        ("find", [Some("1"), None, None]),
        ("find_all", [Some("1"), None, None]),
        ("upsert", [Some("1"), Some("0"), None]),
        ("bulk_create_new", [Some("3"), Some("2"), None]),
        ("bulk_get_or_create", [Some("3"), Some("0"), None]),
        ("bulk_upsert", [Some("3"), Some("0"), Some("3")]),
        ("verify", [None, None, None]),
    ] {
        let span = one(&seen, &format!("upsertable.{name}"));
        assert_eq!(counts(span), expected, "{name}");
        assert_eq!((span.field("table"), span.level), (Some("retweets"), Level::INFO), "{name}");
        assert!(span.field("elapsed").unwrap().parse::<f64>().unwrap() >= 0.0, "{name}");
        assert_eq!(span.field("way").is_some(), name.starts_with("bulk"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_a_transaction_or_a_batch_is_seen_inside_it() {
    let db = Fixture::new().await;
    let work = async {
        upsertable::transaction(&db.pool, async |tx| {
            Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
            Ok::<_, Error>(())
        })
        .await?;
        let in_batches = async |tx: &mut upsertable::Transaction<Db>, row: Retweet| {
            Retweet::find(&mut *tx, row.key()).await?;
            if row.retweeter == 1 { Ok(()) } else { Err::<(), BoxError>("no".into()) }
        };
        Retweet::bulk_upsert(&db.pool, [retweet(1, 2)]).await?;
        Retweet::batches(&db.pool).size(1).run(in_batches).await
    };
    let (done, seen) = traced(work).await;
    assert_eq!(done.unwrap().done, 1);
    assert_eq!(one(&seen, "upsertable.get_or_create").parent.as_deref(), Some("upsertable.transaction"));
    let batches = one(&seen, "upsertable.batches");
    let fields = ["table", "rows", "failed"].map(|field| batches.field(field));
    assert_eq!(fields, [Some("retweets"), Some("1"), Some("1")]);
    let transactions: Vec<_> = seen.iter().filter(|span| span.name == "upsertable.transaction").collect();
    assert!(transactions.iter().all(|span| span.field("tries") == Some("1")));
    let inside = |span: &&&Traced| span.parent.as_deref() == Some("upsertable.batches");
    // One for the row that is done, and two for the one that fails.
    assert_eq!((transactions.len(), transactions.iter().filter(inside).count()), (4, 3), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_call_tells_which_way_its_rows_went() {
    let db = Fixture::new().await;
    let rows = |count| stream::iter((0..count).map(|number| retweet(number, 1)));
    let (done, short) = traced(Retweet::bulk_create_new_stream(&db.pool, rows(10))).await;
    assert_eq!(done.unwrap().created, 10);
    let (done, long) = traced(Retweet::bulk_create_new_stream(&db.pool, rows(30_000))).await;
    assert_eq!(done.unwrap().created, 29_990);
    let way = |seen: &[Traced]| {
        let span = one(seen, "upsertable.bulk_create_new");
        let bytes = span.field("bytes").map_or(0, |bytes| bytes.parse::<u64>().unwrap());
        (span.field("way").unwrap().to_owned(), bytes)
    };
    let expected = match db.server.name {
        // Each value has its length before it.
        "PostgreSQL" | "PgBouncer" => [("unnest", 10 * 3 * 12), ("copy", 30_000 * 3 * 12)],
        "MariaDB" => [("values", 10 * 3 * 11), ("stage", 30_000 * 3 * 11)],
        "MySQL" => [("stage", 10 * 3 * 11), ("stage", 30_000 * 3 * 11)],
        _ => [("values", 0), ("stage", 0)],
    };
    assert_eq!([way(&short), way(&long)], expected.map(|(way, bytes)| (way.to_owned(), bytes)));
    if Db::NAME == "PostgreSQL" {
        let copy = one(&long, "COPY into the staging table");
        assert_eq!(copy.parent.as_deref(), Some("upsertable.bulk_create_new"));
        assert!(copy.field("sql").unwrap().starts_with("COPY"));
        let (rows, bytes) = (copy.field("rows").unwrap(), copy.field("bytes").unwrap());
        assert!(rows.parse::<u64>().unwrap() == 30_000 && bytes.parse::<u64>().unwrap() > 0, "{rows} {bytes}");
    }
    let parts = Retweet::bulk((0..30).map(|number| retweet(number, 2))).commit_every(10);
    let (done, seen) = traced(parts.create_new(&db.pool)).await;
    assert_eq!(done.unwrap().created, 30);
    assert_eq!(way(&seen).1, 3 * expected[0].1, "the bytes of all parts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_warns_and_explains_its_merge() {
    let threshold = THRESHOLD.lock().await;
    let db = Fixture::new().await;
    // So many that the rows are staged on every database.
    let rows = |tweet| stream::iter((0..12_000).map(move |number| retweet(tweet, number)));
    let (done, seen) = traced(Retweet::bulk_create_new_stream(&db.pool, rows(1))).await;
    done.unwrap();
    assert!(seen.iter().all(|event| event.level != Level::WARN), "{seen:#?}");

    warn_slower_than(Some(Duration::ZERO));
    let (done, seen) = traced(Retweet::bulk_create_new_stream(&db.pool, rows(2))).await;
    done.unwrap();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let (done, in_transaction) = traced(Retweet::bulk_create_new_stream(&mut tx, rows(3))).await;
    done.unwrap();
    tx.rollback().await.unwrap();
    warn_slower_than(None);
    drop(threshold);

    let warning = one(&seen, "slow operation");
    assert_eq!((warning.level, warning.parent.as_deref()), (Level::WARN, Some("upsertable.bulk_create_new")));
    assert_eq!((warning.field("operation"), warning.field("table")), (Some("bulk_create_new"), Some("retweets")));
    assert!(warning.field("elapsed").unwrap().parse::<f64>().unwrap() > 0.0);
    let plan = one(&seen, "the plan of a slow merge");
    assert_eq!((plan.level, plan.parent.as_deref()), (Level::DEBUG, Some("upsertable.bulk_create_new")));
    let (sql, text) = (plan.field("sql").unwrap(), plan.field("plan").unwrap());
    let staged = ["upsertable_staged", "SCAN s", "\"table_name\": \"s\""];
    assert!(sql.contains("retweets") && staged.iter().any(|staged| text.contains(staged)), "{sql}\n{text}");
    assert!(in_transaction.iter().all(|event| event.name != plan.name), "it could harm a caller's transaction");
    assert_eq!(one(&in_transaction, "slow operation").level, Level::WARN);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_row_is_told() {
    let db = Fixture::with_connections(1).await;
    let secret = |number: i64| NewAccount { age: 918_273_645, ..account(&format!("hush{number}"), "hush") };
    let long = |number: i64| account(&format!("hush{number}"), &format!("hush{number}"));
    let threshold = THRESHOLD.lock().await;
    warn_slower_than(Some(Duration::ZERO));
    let work = async {
        Account::get_or_create(&db.pool, secret(1)).await?;
        assert_eq!(kind(&Account::get_or_create(&db.pool, secret(2)).await.unwrap_err()), "OtherUnique");
        Account::upsert(&db.pool, secret(1)).await?;
        Account::find(&db.pool, by_email("hush1")).await?;
        assert_eq!(kind(&Account::bulk_create_new(&db.pool, [secret(2)]).await.unwrap_err()), "OtherUnique");
        Account::bulk_upsert(&db.pool, [secret(1)]).await?;
        Account::bulk_create_new(&db.pool, (10..12_000).map(long)).await?;
        let report = Account::batches(&db.pool)
            .filter("email = ?")
            .bind("hush1".to_owned())
            .run(async |tx, _| {
                let twice = Account::bulk(vec![secret(3)]).create_new(tx).await;
                twice.map(drop)
            })
            .await?;
        assert_eq!(report.failed, 1);
        Ok::<_, Error>(())
    };
    let (done, seen) = traced(work).await;
    warn_slower_than(None);
    drop(threshold);
    done.unwrap();
    assert!(seen.len() > 10, "{seen:#?}");
    for traced in seen {
        let told = format!("{traced:?}");
        assert!(!told.contains("hush") && !told.contains("918273645"), "{told}");
    }
}
