//! Batches over a table that is already full.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use sqlx::{Database as _, Pool};
use tokio::{
    sync::{Barrier, Notify, mpsc, oneshot},
    task::JoinSet,
};
use upsertable::{
    Backend, BatchReport, BoxError, Error, Hooks, On, Transaction, TransactionOptions, Upsertable, testing::statements,
};
use upsertable_tests::{
    TestDb as _, at_every_poll,
    models::{NewSetting, Retweet, Setting, retweet},
};

use super::{Db, Fixture, kind, plain};
use crate::Subject;

/// A lesson, whose key is a text and a number.
///
/// The text is compared without case; `times` says how often the lesson was done.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "lessons")]
#[unique(chapter, part)]
struct Lesson {
    chapter: String,
    part: i64,
    times: i64,
    /// State that a filter asks for.
    state: Option<String>,
}

/// A job, whose key is one number.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "jobs")]
#[unique(number)]
struct Job {
    number: i64,
    times: i64,
}

const TODO: &str = "times = 0";

async fn lessons(db: &Fixture) {
    db.run(
        "CREATE TABLE lessons (chapter {nocase} NOT NULL, part BIGINT NOT NULL, times BIGINT NOT NULL, state {text}, \
         UNIQUE (chapter, part))",
    )
    .await;
}

/// A table of so many jobs, none of them done.
async fn jobs(connections: u32, count: i64) -> Fixture {
    let db = Fixture::with_connections(connections).await;
    db.run("CREATE TABLE jobs (number BIGINT NOT NULL, times BIGINT NOT NULL, UNIQUE (number))").await;
    db.run("CREATE TABLE effects (number BIGINT NOT NULL)").await;
    Job::bulk_create_new(&db.pool, (0..count).map(|number| Job { number, times: 0 })).await.unwrap();
    db
}

/// Counts one more time that the job was done.
async fn finish(tx: &mut Transaction<Db>, number: i64) -> Result<(), BoxError> {
    let update = format!("UPDATE jobs SET times = times + 1 WHERE number = {number}");
    // Not prepared, as each has a text of its own.
    sqlx::raw_sql(plain(&update)).execute(&mut **tx).await?;
    sqlx::raw_sql(plain(&format!("INSERT INTO effects (number) VALUES ({number})"))).execute(&mut **tx).await?;
    Ok(())
}

/// Checks how many times every job was done.
///
/// What was done beside it was kept as often.
async fn assert_times(db: &Fixture, expected: impl Fn(i64) -> i64) {
    let times = db.numbers("SELECT times FROM jobs ORDER BY number").await;
    let numbers = db.numbers("SELECT number FROM jobs ORDER BY number").await;
    for (number, times) in numbers.iter().zip(times) {
        assert_eq!(times, expected(*number), "times of job {number}");
    }
    let effects = db.numbers("SELECT number FROM effects").await;
    let mut by_number: BTreeMap<i64, i64> = BTreeMap::new();
    for number in effects {
        *by_number.entry(number).or_default() += 1;
    }
    for number in numbers {
        assert_eq!(by_number.get(&number).copied().unwrap_or(0), expected(number), "effects of job {number}");
    }
}

fn counts<K>(report: &BatchReport<K>) -> (u64, u64, u64) {
    (report.done, report.failed, report.left)
}

fn is_sqlite() -> bool {
    Db::NAME == "SQLite"
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_pages_follow_the_databases_own_order_of_a_composite_key_with_text() {
    let db = Fixture::new().await;
    lessons(&db).await;
    // In bytes, the upper case comes before the lower, and accents behind both.
    let chapters = ["b", "A", "a b", "B1", "É", "e", "f", "Zz", "z", "_", "a'?"];
    let rows = chapters.iter().flat_map(|chapter| {
        [3_i64, -1, 20].map(|part| Lesson { chapter: (*chapter).into(), part, times: 0, state: None })
    });
    Lesson::bulk_create_new(&db.pool, rows).await.unwrap();
    let count = db.count("lessons").await as u64;
    let expected = db.numbers("SELECT part FROM lessons ORDER BY chapter, part").await;

    for size in [1, 2, 3, 4, 32, 33, 34, 100] {
        let seen = Mutex::new(Vec::new());
        let report = Lesson::batches(&db.pool)
            .size(size)
            .run(async |_, lesson: Lesson| {
                seen.lock().unwrap().push(lesson);
                Ok::<_, BoxError>(())
            })
            .await
            .unwrap();
        assert_eq!(counts(&report), (count, 0, count), "size {size}");
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.iter().map(|lesson| lesson.part).collect::<Vec<_>>(), expected, "size {size}");
        let keys: HashSet<_> = seen.into_iter().map(|lesson| (lesson.chapter, lesson.part)).collect();
        assert_eq!(keys.len() as u64, count, "size {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_pages_by_a_key_in_which_null_matches_null() {
    if !Subject::NULLS_NOT_DISTINCT {
        let db = Fixture::new().await;
        let refused = Setting::batches(&db.pool).run(async |_, _| Ok::<_, BoxError>(())).await.unwrap_err();
        assert_eq!(kind(&refused), "Unsupported");
        return;
    }
    let db = Fixture::new().await;
    let scopes = [None, Some(1), Some(-5), Some(9)];
    let rows = scopes
        .into_iter()
        .flat_map(|scope| ["x", "y", "z"].map(|name| NewSetting { scope, name: name.into(), value: String::new() }));
    Setting::bulk_create_new(&db.pool, rows).await.unwrap();
    let expected = db.numbers("SELECT id FROM settings ORDER BY scope, name").await;
    for size in [1, 2, 5, 12] {
        let seen = Mutex::new(Vec::new());
        let work = async |_: &mut Transaction<Db>, setting: Setting| {
            seen.lock().unwrap().push(setting.id);
            Ok::<_, BoxError>(())
        };
        let report = Setting::batches(&db.pool).size(size).run(work).await.unwrap();
        assert_eq!((report.done, seen.into_inner().unwrap()), (12, expected.clone()), "size {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_two_runs_at_once_share_the_work_and_do_each_row_once() {
    const JOBS: i64 = 300;
    let db = jobs(6, JOBS).await;
    for round in 0..3 {
        let mut runs = JoinSet::new();
        for size in [7, 10, 10] {
            let pool = db.pool.clone();
            runs.spawn(async move {
                let work = async |tx: &mut Transaction<Db>, job: Job| {
                    assert_eq!(job.times, round, "a stale row");
                    tokio::task::yield_now().await;
                    finish(tx, job.number).await
                };
                let round = round.to_owned();
                Job::batches(&pool).filter("times = ?").bind(round).size(size).concurrency(2).run(work).await.unwrap()
            });
        }
        let reports = runs.join_all().await;
        assert_eq!(reports.iter().map(|report| report.done).sum::<u64>(), JOBS as u64, "{reports:?}");
        assert_eq!(reports.iter().map(|report| report.failed).sum::<u64>(), 0, "{reports:?}");
        assert_times(&db, |_| round + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_what_a_run_that_dies_had_in_hand_is_done_by_the_other() {
    let db = jobs(4, 50).await;
    let (reached, mut is_there) = mpsc::unbounded_channel();
    let pool = db.pool.clone();
    let dying = tokio::spawn(async move {
        let work = async |tx: &mut Transaction<Db>, job: Job| {
            finish(tx, job.number).await?;
            if job.number == 14 {
                reached.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(())
        };
        Job::batches(&pool).filter(TODO).size(10).run(work).await.map(drop)
    });
    is_there.recv().await.unwrap();

    let (told, mut tell) = mpsc::unbounded_channel();
    let pool = db.pool.clone();
    let other = tokio::spawn(async move {
        let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
        let listener = |p: upsertable::BatchProgress| told.send(p.done).unwrap();
        Job::batches(&pool).filter(TODO).size(8).on_progress(listener).run(work).await.unwrap()
    });
    if !is_sqlite() {
        // All but what is locked. SQLite has one writer at a time, for which the other waits.
        while tell.recv().await.expect("the other run is not done") < 30 {}
        assert_eq!(db.number("SELECT count(*) FROM jobs WHERE times = 0").await, 10);
    }
    dying.abort();
    let report = other.await.unwrap();
    assert_eq!(counts(&report), (40, 0, 0));
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_row_that_the_filter_still_holds_for_is_not_done_again_though_others_hold_rows_beside_it() {
    let db = jobs(4, 40).await;
    // Held by another: rows in the middle of pages.
    let mut holder = upsertable::begin(&db.pool).await.unwrap();
    let lock = "UPDATE jobs SET times = 0 WHERE number IN (3, 4, 17, 39)";
    if !is_sqlite() {
        sqlx::query(lock).execute(&mut *holder).await.unwrap();
    }
    let mut holder = Some(holder);
    if is_sqlite() {
        holder.take().unwrap().rollback().await.unwrap();
    }
    let (told, mut tell) = mpsc::unbounded_channel();
    let pool = db.pool.clone();
    let run = tokio::spawn(async move {
        let seen = Mutex::new(Vec::new());
        let work = async |_: &mut Transaction<Db>, job: Job| {
            seen.lock().unwrap().push(job.number);
            Ok::<_, BoxError>(())
        };
        let listener = |p: upsertable::BatchProgress| told.send(p.done).unwrap();
        let report =
            Job::batches(&pool).filter(TODO).size(6).concurrency(2).on_progress(listener).run(work).await.unwrap();
        (report, seen.into_inner().unwrap())
    });
    if let Some(holder) = holder {
        while tell.recv().await.unwrap() < 36 {}
        holder.rollback().await.unwrap();
    }
    let (report, mut seen) = run.await.unwrap();
    seen.sort_unstable();
    assert_eq!((counts(&report), seen), ((40, 0, 40), (0..40).collect()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_run_that_is_dropped_keeps_whole_batches_and_the_next_does_the_rest() {
    let db = jobs(1, 9).await;
    let mut cut_in_the_middle = 0;
    for _ in 0..20 {
        // All of it can be done in a few polls, where the answers come before they are asked for.
        if cut_in_the_middle > 0 {
            break;
        }
        at_every_poll(1, async |cut| {
            db.run("UPDATE jobs SET times = 0").await;
            db.run("DELETE FROM effects").await;
            let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
            let run = Job::batches(&db.pool).filter(TODO).size(2).run(work);
            let report = cut.short(run).await;
            let kept = db.number("SELECT count(*) FROM jobs WHERE times > 0").await;
            // COMMIT runs to its end by itself.
            assert!(kept % 2 == 0 || kept == 9, "{kept} rows are kept");
            cut_in_the_middle += u32::from(kept > 0 && kept < 9);
            let was_done = report.is_some();
            let rest = Job::batches(&db.pool).filter(TODO).size(2).run(work).await.unwrap();
            assert_eq!((rest.failed, rest.left), (0, 0), "{cut}");
            assert_times(&db, |_| 1).await;
            was_done
        })
        .await;
    }
    assert!(cut_in_the_middle > 0);
    db.assert_pool_clean("after all the cuts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_rows_added_and_deleted_meanwhile_are_neither_missed_nor_done_twice() {
    let db = jobs(4, 0).await;
    db.run("INSERT INTO jobs (number, times) VALUES (10, 0), (20, 0), (30, 0), (40, 0), (50, 0), (60, 0)").await;
    let changes = Mutex::new(vec![
        // After the batch of 10 and 20: one behind, some ahead, more between the next page's keys than there is room for, and one less.
        "INSERT INTO jobs (number, times) VALUES (5, 0), (25, 0), (35, 0), (36, 0), (37, 0), (38, 0), (39, 0), (70, 0), (80, 0)",
        "DELETE FROM jobs WHERE number IN (50, 60)",
    ]);
    let seen = Mutex::new(Vec::new());
    let (progress, mut committed) = mpsc::unbounded_channel();
    let report = Job::batches(&db.pool)
        .filter(TODO)
        .size(2)
        .on_progress(move |p| progress.send(p.done).unwrap())
        .run(async |tx, job: Job| {
            seen.lock().unwrap().push(job.number);
            finish(tx, job.number).await?;
            let outside = db.outside.clone();
            if job.number == 20 {
                let mut conn = if is_sqlite() { None } else { Some(outside.acquire().await?) };
                let changes = std::mem::take(&mut *changes.lock().unwrap());
                for change in changes {
                    match &mut conn {
                        Some(conn) => Subject::execute(conn, change.to_owned()).await?,
                        None => Subject::execute(tx.raw(), change.to_owned()).await?,
                    };
                }
            }
            Ok::<_, BoxError>(())
        })
        .await
        .unwrap();
    assert_eq!(seen.into_inner().unwrap(), [10, 20, 25, 30, 35, 36, 37, 38, 39, 40]);
    assert_eq!(counts(&report), (10, 0, 3), "the row behind is left, and those beyond the last that was there");
    assert_times(&db, |number| i64::from(number != 5 && number < 70)).await;
    let mut last = 0;
    while let Some(done) = committed.recv().await {
        last = done;
    }
    assert_eq!(last, 10);
    let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
    assert_eq!(counts(&Job::batches(&db.pool).filter(TODO).size(2).run(work).await.unwrap()), (3, 0, 0));
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_run_stops_after_the_batch_in_hand_and_the_next_goes_on() {
    let db = jobs(2, 25).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let stop = Mutex::new(Some(stop));
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        if job.number == 13 {
            drop(stop.lock().unwrap().take());
        }
        finish(tx, job.number).await
    };
    let report = Job::batches(&db.pool).filter(TODO).size(10).stop_on(stopped).run(work).await.unwrap();
    assert_eq!((counts(&report), report.stopped), ((20, 0, 5), true));
    assert_eq!(report.to_string(), "20 rows done, 0 failed, 5 left");
    assert_times(&db, |number| i64::from(number < 20)).await;

    let stopped = async {};
    let report = Job::batches(&db.pool).filter(TODO).size(10).stop_on(stopped).run(work).await.unwrap();
    assert_eq!((counts(&report), report.stopped), ((0, 0, 5), true), "stopped before it began");

    // A signal that comes when all is done stops nothing.
    let (late, too_late) = (AtomicBool::new(false), AtomicU32::new(0));
    let signal = std::future::poll_fn(|_| {
        too_late.fetch_add(1, Ordering::SeqCst);
        if late.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    });
    let report = Job::batches(&db.pool).filter(TODO).size(10).stop_on(signal).run(work).await.unwrap();
    assert_eq!((counts(&report), report.stopped), ((5, 0, 0), false));
    assert!(too_late.into_inner() > 0);
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a_run_that_waits_for_rows_of_others_stops_too() {
    if is_sqlite() {
        // There is nothing to wait for: one transaction writes at a time.
        return;
    }
    let db = jobs(3, 20).await;
    let mut holder = upsertable::begin(&db.pool).await.unwrap();
    sqlx::query("UPDATE jobs SET times = 0 WHERE number IN (3, 4, 12)").execute(&mut *holder).await.unwrap();
    let (told, mut tell) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let pool = db.pool.clone();
    let run = tokio::spawn(async move {
        let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
        let listener = |p: upsertable::BatchProgress| told.send(p.done).unwrap();
        // By its text it is found among what the server runs.
        let batches = Job::batches(&pool).filter("times = 0 AND 4711 = 4711").size(5).concurrency(2);
        batches.on_progress(listener).stop_on(stopped).run(work).await.unwrap()
    });
    while tell.recv().await.unwrap() < 17 {}
    let waiting = match Db::NAME {
        "PostgreSQL" => {
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%4711 = 4711%UPDATE'"
        }
        _ => {
            "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' \
             AND trx_query LIKE '%4711 = 4711%UPDATE'"
        }
    };
    while db.number(waiting).await == 0 {
        // MariaDB answers with what it said before, to who asks again within a tenth of a second.
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
    stop.send(()).unwrap();
    let report = run.await.unwrap();
    assert_eq!((counts(&report), report.stopped), ((17, 0, 3), true));
    holder.rollback().await.unwrap();
    let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
    assert_eq!(counts(&Job::batches(&db.pool).filter(TODO).run(work).await.unwrap()), (3, 0, 0));
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_rows_that_fail_are_undone_alone_and_reported_with_their_keys() {
    let db = Fixture::with_connections(2).await;
    lessons(&db).await;
    let lesson = |part| Lesson { chapter: "A".into(), part, times: 0, state: Some("new".into()) };
    Lesson::bulk_create_new(&db.pool, (0..40).map(lesson)).await.unwrap();
    let set = |part: i64, state: &str| {
        plain(&format!("UPDATE lessons SET times = times + 1, state = '{state}' WHERE part = {part}"))
    };
    let report = Lesson::batches(&db.pool)
        .filter("state = ?")
        .bind("new")
        .size(10)
        .run(async |tx, lesson: Lesson| {
            sqlx::query(set(lesson.part, "done")).execute(&mut **tx).await?;
            tx.on_commit(async move { assert_ne!(lesson.part, 7, "a callback of a row that failed") });
            match lesson.part {
                7 => Err("an error of its own".into()),
                8 => {
                    sqlx::query("INSERT INTO words (word) VALUES (NULL)").execute(&mut **tx).await?;
                    Ok(())
                }
                21 => panic!("row {} is odd", lesson.part),
                _ => Ok::<_, BoxError>(()),
            }
        })
        .await
        .unwrap();
    assert_eq!(counts(&report), (37, 3, 3));
    let failures: Vec<(i64, String)> =
        report.failures.iter().map(|(key, error)| (key.part, error.to_string())).collect();
    assert_eq!(failures[0], (7, "an error of its own".to_owned()));
    assert_eq!(failures[1].0, 8);
    assert_eq!(failures[2], (21, "the closure panicked: row 21 is odd".to_owned()));
    assert_eq!(report.failures[0].0.chapter, "A");
    assert_eq!(db.numbers("SELECT part FROM lessons WHERE state = 'new' ORDER BY part").await, [7, 8, 21]);
    assert_eq!(db.number("SELECT count(*) FROM lessons WHERE times = 1").await, 37);
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_row_that_cannot_be_read_is_reported_with_its_key() {
    /// A lesson with a column that must not be NULL.
    #[derive(Debug, sqlx::FromRow, Upsertable)]
    #[upsertable(table = "lessons")]
    #[unique(chapter, part)]
    struct Strict {
        chapter: String,
        part: i64,
        state: String,
    }

    let db = Fixture::with_connections(1).await;
    lessons(&db).await;
    let state = |part: i64| (part != 5).then(|| "new".to_owned());
    let lesson = |part| Lesson { chapter: "A".into(), part, times: 0, state: state(part) };
    Lesson::bulk_create_new(&db.pool, (0..10).map(lesson)).await.unwrap();
    let work = async |_: &mut Transaction<Db>, row: Strict| {
        assert_eq!((row.chapter.as_str(), row.part == 5, row.state.as_str()), ("A", false, "new"));
        Ok::<_, BoxError>(())
    };
    let report = Strict::batches(&db.pool).size(4).run(work).await.unwrap();
    assert_eq!((report.done, report.failed, report.failures[0].0.part), (9, 1, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_savepoints_are_set_only_in_the_second_go_at_a_batch_that_failed() {
    let db = jobs(1, 6).await;
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        finish(tx, job.number).await?;
        if job.number == 3 { Err("no".into()) } else { Ok::<_, BoxError>(()) }
    };
    let (report, seen) = statements(Job::batches(&db.pool).filter(TODO).size(2).run(work)).await;
    assert_eq!(counts(&report.unwrap()), (5, 1, 1));
    let words: Vec<&str> = seen
        .iter()
        .map(|sql| sql.split(' ').next().unwrap())
        .filter(|word| !matches!(*word, "INSERT" | "SET"))
        .map(|word| if word == "START" { "BEGIN" } else { word })
        .collect();
    let page = ["SELECT", "BEGIN", "SELECT", "UPDATE", "UPDATE", "COMMIT"];
    let failed = [
        "SELECT",
        "BEGIN",
        "SELECT",
        "UPDATE",
        "UPDATE",
        "ROLLBACK",
        "BEGIN",
        "SELECT",
        "SAVEPOINT",
        "UPDATE",
        "RELEASE",
        "SAVEPOINT",
        "UPDATE",
        "ROLLBACK",
        "COMMIT",
    ];
    let (begin, end) = (["SELECT"], ["SELECT", "SELECT"]);
    assert_eq!(words, [&begin[..], &page, &failed, &page, &end].concat(), "{seen:#?}");
    assert!(seen.iter().all(|sql| !sql.contains("OFFSET")), "{seen:#?}");
    let mut pages = seen.iter().filter(|sql| sql.starts_with("SELECT") && !sql.starts_with("SELECT count("));
    assert!(pages.next().is_some_and(|sql| sql.ends_with(" DESC LIMIT 1")), "{seen:#?}");
    assert!(pages.clone().count() > 0);
    assert!(pages.clone().all(|sql| sql.contains(" LIMIT 2") || sql.contains(" LIMIT 4")), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_row_that_fails_at_commit_is_reported_with_its_key() {
    if !Subject::DEFERRED_CONSTRAINTS {
        return;
    }
    let db = jobs(2, 12).await;
    let pledge =
        |number: i64, account: i64| format!("INSERT INTO pledges (code, account) VALUES ('{number}', {account})");
    db.run("INSERT INTO accounts (email, handle, age) VALUES ('a', 'a', 1)").await;
    let known = db.number("SELECT id FROM accounts").await;
    let report = Job::batches(&db.pool)
        .filter(TODO)
        .size(5)
        .run(async |tx, job: Job| {
            let account = if job.number == 6 { known + 1 } else { known };
            sqlx::query(plain(&pledge(job.number, account))).execute(&mut **tx).await?;
            finish(tx, job.number).await
        })
        .await
        .unwrap();
    assert_eq!((counts(&report), report.failures[0].0.number), ((11, 1, 1), 6));
    assert_times(&db, |number| i64::from(number != 6)).await;
    assert_eq!(db.count("pledges").await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_batch_that_the_database_ended_is_done_again() {
    let db = jobs(4, 6).await;
    let lost = AtomicU32::new(0);
    let called = AtomicU32::new(0);
    let options = TransactionOptions::new().backoff(Duration::from_millis(1), Duration::from_millis(2));
    // SQLite's transactions begin with the write lock and never lose; one that says it will only read does not.
    let options = if is_sqlite() { options.read_only() } else { options };
    let report = Job::batches(&db.pool)
        .filter(TODO)
        .size(3)
        .options(options)
        .run(async |tx, job: Job| {
            let called = &called;
            called.fetch_add(1, Ordering::SeqCst);
            if job.number == 4 && lost.fetch_add(1, Ordering::SeqCst) < 2 {
                let raise = match Db::NAME {
                    "PostgreSQL" => {
                        "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$"
                    }
                    "MySQL" => "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'lost'",
                    _ => {
                        let end_read = "UPDATE words SET word = word WHERE word = 'none'";
                        db.run("INSERT INTO counted (k) SELECT count(*) FROM counted").await;
                        end_read
                    }
                };
                if is_sqlite() {
                    // It has read its rows and nothing more, so another could write in between.
                    return Err(sqlx::query(raise).execute(&mut **tx).await.unwrap_err().into());
                }
                return Err(sqlx::raw_sql(raise).execute(&mut **tx).await.unwrap_err().into());
            }
            if is_sqlite() && job.number == 3 { Ok(()) } else { finish(tx, job.number).await }
        })
        .await
        .unwrap();
    let left = u64::from(is_sqlite());
    assert_eq!(counts(&report), (6, 0, left), "{:?}", report.failures);
    assert_eq!((lost.into_inner(), called.into_inner()), (3, 3 + 2 + 2 + 3));
    assert_times(&db, |number| i64::from(!is_sqlite() || number != 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_row_that_ends_its_transaction_each_time_is_reported_with_its_key() {
    let db = jobs(4, 7).await;
    let options = TransactionOptions::new().attempts(2).backoff(Duration::from_millis(1), Duration::from_millis(2));
    let report = Job::batches(&db.pool)
        .filter(TODO)
        .size(4)
        .options(options)
        .run(async |tx, job: Job| {
            finish(tx, job.number).await?;
            if job.number == 2 {
                return Err(Subject::spoil(tx, &db.pool).await.into());
            }
            Ok::<_, BoxError>(())
        })
        .await
        .unwrap();
    assert_eq!((counts(&report), report.failures[0].0.number), ((6, 1, 1), 2));
    assert_times(&db, |number| i64::from(number != 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_runs_that_deadlock_with_each_other_lose_nothing() {
    const JOBS: i64 = 60;
    let db = jobs(8, JOBS).await;
    db.run("CREATE TABLE sums (number BIGINT NOT NULL, total BIGINT NOT NULL, UNIQUE (number))").await;
    db.run("INSERT INTO sums (number, total) VALUES (0, 0), (1, 0), (2, 0)").await;
    let pool = &db.pool;
    let options =
        TransactionOptions::new().attempts(1_000).backoff(Duration::from_millis(1), Duration::from_millis(20));
    let report = Job::batches(pool)
        .filter(TODO)
        .size(3)
        .concurrency(6)
        .options(options)
        .run(async |tx, job: Job| {
            // In an order of its own each, so that two stand in each other's way.
            for step in 0..3 {
                let number = (job.number * 2 + step * (1 + job.number % 2)) % 3;
                let add = format!("UPDATE sums SET total = total + 1 WHERE number = {number}");
                sqlx::query(plain(&add)).execute(&mut **tx).await?;
                tokio::task::yield_now().await;
            }
            finish(tx, job.number).await
        })
        .await
        .unwrap();
    assert_eq!(counts(&report), (JOBS as u64, 0, 0), "{:?}", report.failures);
    assert_times(&db, |_| 1).await;
    assert_eq!(db.numbers("SELECT total FROM sums").await.iter().sum::<i64>(), 3 * JOBS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_the_first_thousand_failures_are_kept() {
    let db = jobs(1, 1_050).await;
    let work = async |_: &mut Transaction<Db>, job: Job| Err::<(), BoxError>(format!("job {}", job.number).into());
    let report = Job::batches(&db.pool).size(600).run(work).await.unwrap();
    assert_eq!((counts(&report), report.failures.len()), ((0, 1_050, 1_050), 1_000));
    let (key, error) = &report.failures[999];
    assert_eq!((key.number, error.to_string()), (999, "job 999".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_each_batch_runs_its_callbacks_and_hooks_after_its_own_commit() {
    let db = jobs(1, 7).await;
    let (seen, sizes) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let mut hooks = Hooks::new();
    let of_batches = Arc::clone(&sizes);
    Retweet::after_commit(&mut hooks, async move |rows: Arc<[Retweet]>| of_batches.lock().unwrap().push(rows.len()));
    let report = Job::batches(&db.pool)
        .filter(TODO)
        .size(3)
        .options(TransactionOptions::new().hooks(&hooks))
        .run(async |tx, job: Job| {
            Retweet::get_or_create(&mut *tx, retweet(1, job.number)).await?;
            let (seen, pool) = (Arc::clone(&seen), db.pool.clone());
            tx.on_commit(async move {
                let committed: i64 =
                    sqlx::query_scalar("SELECT count(*) FROM retweets").fetch_one(&pool).await.unwrap();
                seen.lock().unwrap().push(committed);
            });
            finish(tx, job.number).await
        })
        .await
        .unwrap();
    assert_eq!(report.done, 7);
    assert_eq!(*seen.lock().unwrap(), [3, 3, 3, 6, 6, 6, 7]);
    assert_eq!(*sizes.lock().unwrap(), [3, 3, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_as_many_batches_as_asked_for_are_under_way_at_a_time() {
    let db = jobs(4, 90).await;
    // On SQLite one at a time, as it has one writer.
    let together = Barrier::new(if is_sqlite() { 1 } else { 3 });
    let at_most = AtomicU64::new(0);
    let under_way = AtomicU64::new(0);
    let report = Job::batches(&db.pool)
        .filter(TODO)
        .size(10)
        .concurrency(3)
        .run(async |tx, job: Job| {
            if job.number % 10 == 0 {
                at_most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                together.wait().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
            }
            finish(tx, job.number).await
        })
        .await
        .unwrap();
    assert_eq!(counts(&report), (90, 0, 0));
    assert_eq!(at_most.into_inner(), if is_sqlite() { 1 } else { 3 });
    assert_times(&db, |_| 1).await;
}

/// The outcome of a run that might have no end.
async fn ended<T>(run: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(2), run).await.expect("the run has no end")
}

/// Counts that the job was done, and gives it another number.
async fn move_to(tx: &mut Transaction<Db>, job: Job, number: i64) -> Result<(), BoxError> {
    let update = format!("UPDATE jobs SET times = times + 1, number = {number} WHERE number = {}", job.number);
    assert_eq!(sqlx::raw_sql(plain(&update)).execute(&mut **tx).await?.rows_affected(), 1);
    Ok(())
}

/// Counts that the lesson was done, and sets what SQL says besides.
async fn change(tx: &mut Transaction<Db>, lesson: &Lesson, set: &str) -> Result<(), BoxError> {
    let Lesson { chapter, part, .. } = lesson;
    let update = format!("UPDATE lessons SET times = times + 1, {set} WHERE chapter = '{chapter}' AND part = {part}");
    assert_eq!(sqlx::raw_sql(plain(&update)).execute(&mut **tx).await?.rows_affected(), 1);
    Ok(())
}

/// Checks that jobs which get other numbers are done once.
///
/// The run is over jobs of the numbers 0, 10, 20 .. 190, each of which gets another number.
async fn each_moves_once(filter: &'static str, to: fn(i64) -> i64) {
    for (size, concurrency) in [(1, 1), (1, 3), (7, 1), (20, 1), (100, 2)] {
        let db = jobs(4, 0).await;
        Job::bulk_create_new(&db.pool, (0..20).map(|number| Job { number: number * 10, times: 0 })).await.unwrap();
        let work = async |tx: &mut Transaction<Db>, job: Job| {
            let number = to(job.number);
            move_to(tx, job, number).await
        };
        let run = Job::batches(&db.pool).filter(filter).size(size).concurrency(concurrency).run(work);
        let report = ended(run).await.unwrap();
        assert_eq!((report.done, report.failed), (20, 0), "{filter}, {size}: {:?}", report.failures);
        let expected = db.number(&format!("SELECT count(*) FROM jobs WHERE {filter}")).await;
        assert_eq!(report.left.cast_signed(), expected, "{filter}, {size}");
        assert_eq!(db.numbers("SELECT times FROM jobs").await, [1; 20], "{filter}, {size}");
        let mut numbers: Vec<i64> = (0..20).map(|number| to(number * 10)).collect();
        numbers.sort_unstable();
        assert_eq!(db.numbers("SELECT number FROM jobs ORDER BY number").await, numbers, "{filter}, {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_the_closure_moves_beyond_the_last_are_done_once() {
    // With a filter that still holds, with none to speak of, and with one of what is still to do.
    for filter in ["number >= 0", "1 = 1", TODO] {
        each_moves_once(filter, |number| number + 1_000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_the_closure_moves_back_are_done_once() {
    each_moves_once("1 = 1", |number| number - 5).await;
    each_moves_once("1 = 1", |number| -number - 1).await;
    each_moves_once("1 = 1", |number| number - 1_000).await;
}

/// A row that comes to an open page is done once.
///
/// The first page goes from the begin of the table to its last row. While it is in hand, a row of the next page comes to lie there.
#[tokio::test(flavor = "multi_thread")]
async fn a4_a_row_that_comes_to_a_page_in_hand_is_not_done_again() {
    if is_sqlite() {
        // One batch is in hand at a time.
        return;
    }
    let db = jobs(4, 6).await;
    let (is_first, moved) = (AtomicBool::new(true), Arc::new(Notify::new()));
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        if job.number == 0 && is_first.swap(false, Ordering::SeqCst) {
            moved.notified().await;
            return Err("its rows are to be read again".into());
        }
        if job.number == 1 {
            let moved = Arc::clone(&moved);
            tx.on_commit(async move { moved.notify_one() });
        }
        let number = -10 - job.number;
        move_to(tx, job, number).await
    };
    let report = ended(Job::batches(&db.pool).size(1).concurrency(2).run(work)).await.unwrap();
    assert_eq!(counts(&report), (6, 0, 6), "{:?}", report.failures);
    assert_eq!(db.numbers("SELECT times FROM jobs").await, [1; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_the_closure_moves_to_where_the_run_has_yet_to_come_are_done_once_by_a_filter() {
    each_moves_once(TODO, |number| number + 15).await;
    each_moves_once(TODO, |number| number + 1).await;
    each_moves_once(TODO, |number| if number < 100 { number + 105 } else { number - 95 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_keys_of_several_columns_that_the_closure_changes_are_done_once_by_a_filter() {
    for (filter, value, left) in [("state = ?", "new", 0), ("chapter = ?", "b", 6)] {
        for size in [1, 4, 100] {
            let db = Fixture::with_connections(2).await;
            lessons(&db).await;
            let lesson =
                |chapter: &str, part| Lesson { chapter: chapter.into(), part, times: 0, state: Some("new".into()) };
            let rows = ["a", "b", "c"].into_iter().flat_map(|chapter| (0..6).map(move |part| lesson(chapter, part)));
            Lesson::bulk_create_new(&db.pool, rows).await.unwrap();
            let work = async |tx: &mut Transaction<Db>, lesson: Lesson| {
                change(tx, &lesson, "part = part + 1000, state = 'done'").await
            };
            let run = Lesson::batches(&db.pool).filter(filter).bind(value).size(size).run(work);
            let report = ended(run).await.unwrap();
            let all = if left == 0 { 18 } else { 6 };
            assert_eq!(counts(&report), (all, 0, left), "{filter}, {size}");
            assert_eq!(db.numbers("SELECT times FROM lessons WHERE state = 'done'").await, vec![1; all as usize]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_run_whose_rows_come_again_for_ever_ends_with_an_error_that_says_what_helps() {
    // By a key of several columns, and by one, in which a row moves through all that is before the next.
    let db = Fixture::with_connections(2).await;
    lessons(&db).await;
    let lesson = |chapter: &str, part| Lesson { chapter: chapter.into(), part, times: 0, state: None };
    let rows = ["a", "b"].into_iter().flat_map(|chapter| (0..9).map(move |part| lesson(chapter, part)));
    Lesson::bulk_create_new(&db.pool, rows).await.unwrap();
    let work = async |tx: &mut Transaction<Db>, lesson: Lesson| change(tx, &lesson, "part = part + 1000").await;
    let error = ended(Lesson::batches(&db.pool).size(4).run(work)).await.unwrap_err();
    let Error::Partly { committed, source, .. } = &error else { panic!("{error}") };
    assert_eq!(kind(source), "Unsupported");
    assert!(source.to_string().contains("filter"), "{source}");
    assert_eq!(db.numbers("SELECT times FROM lessons").await.iter().sum::<i64>(), committed.cast_signed());

    for size in [1, 2] {
        let db = jobs(3, 0).await;
        db.run("INSERT INTO jobs (number, times) VALUES (0, 0), (1000000000, 0)").await;
        let work = async |tx: &mut Transaction<Db>, job: Job| {
            let next = job.number + 1;
            move_to(tx, job, next).await
        };
        let run = Job::batches(&db.pool).size(size);
        // On one page each is met once.
        if size == 2 {
            assert_eq!(ended(run.run(work)).await.unwrap().done, 2);
            continue;
        }
        let error = ended(run.run(work)).await.unwrap_err();
        let Error::Partly { committed, .. } = &error else { panic!("{error}") };
        assert_eq!(db.numbers("SELECT times FROM jobs").await.iter().sum::<i64>(), committed.cast_signed());
        // A filter that still holds is no help.
        let error = ended(Job::batches(&db.pool).filter("times >= 0").size(size).run(work)).await.unwrap_err();
        assert_eq!(kind(&error), "Partly");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_batch_that_is_done_row_by_row_meets_its_rows_once_though_they_move() {
    if !Subject::DEFERRED_CONSTRAINTS {
        return;
    }
    // On one connection: on another, a row can still be locked by the transaction that has just failed to commit.
    let db = jobs(1, 0).await;
    db.run("INSERT INTO jobs (number, times) VALUES (0, 0), (1000000000, 0)").await;
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        if job.times == 0 && job.number > 0 {
            sqlx::query("INSERT INTO pledges (code, account) VALUES ('p', 4711)").execute(&mut **tx).await?;
        }
        let next = job.number + 1;
        move_to(tx, job, next).await
    };
    let report = ended(Job::batches(&db.pool).size(2).run(work)).await.unwrap();
    assert_eq!((counts(&report), report.failures[0].0.number), ((1, 1, 2), 1_000_000_000));
    assert_eq!(db.numbers("SELECT times FROM jobs ORDER BY number").await, [1, 0]);
    assert_eq!(db.count("pledges").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_were_waited_for_are_met_once_too_when_they_are_done_row_by_row() {
    if !Subject::DEFERRED_CONSTRAINTS || is_sqlite() {
        return;
    }
    let db = jobs(1, 0).await;
    db.run("INSERT INTO jobs (number, times) VALUES (0, 0), (1000000000, 0)").await;
    let mut holder = upsertable::begin(&db.outside).await.unwrap();
    sqlx::query("UPDATE jobs SET times = 0").execute(&mut *holder).await.unwrap();
    let (told, mut tell) = mpsc::unbounded_channel();
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        if job.times == 0 && job.number > 0 {
            sqlx::query("INSERT INTO pledges (code, account) VALUES ('p', 4711)").execute(&mut **tx).await?;
        }
        let next = job.number + 1;
        move_to(tx, job, next).await
    };
    let listener = move |p: upsertable::BatchProgress| told.send(p.done).unwrap();
    let run = Job::batches(&db.pool).size(2).on_progress(listener).run(work);
    let release = async {
        // Both rows are passed over first.
        assert_eq!(tell.recv().await, Some(0));
        holder.rollback().await.unwrap();
    };
    let (report, ()) = ended(futures_util::future::join(run, release)).await;
    let report = report.unwrap();
    assert_eq!((counts(&report), report.failures[0].0.number), ((1, 1, 2), 1_000_000_000));
    assert_eq!(db.numbers("SELECT times FROM jobs ORDER BY number").await, [1, 0]);
    assert_eq!(db.count("pledges").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_long_run_beside_which_others_add_rows_ahead_comes_to_its_end() {
    let db = jobs(2, 0).await;
    Job::bulk_create_new(&db.pool, (0..200).map(|number| Job { number: number * 100, times: 0 })).await.unwrap();
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        // For every second row one more, some way ahead.
        if job.number % 200 == 0 {
            let insert = format!("INSERT INTO jobs (number, times) VALUES ({}, 0)", job.number + 501);
            sqlx::raw_sql(plain(&insert)).execute(&mut **tx).await?;
        }
        finish(tx, job.number).await
    };
    let report = ended(Job::batches(&db.pool).size(2).run(work)).await.unwrap();
    assert_eq!((report.done, report.failed), (297, 0), "all but the last three of those that were added");
    assert_times(&db, |number| i64::from(number <= 19_900)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_rows_that_the_closure_adds_beyond_the_last_are_left_to_the_next_run() {
    let db = jobs(2, 10).await;
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        let insert = format!("INSERT INTO jobs (number, times) VALUES ({}, 0)", job.number + 100);
        sqlx::raw_sql(plain(&insert)).execute(&mut **tx).await?;
        finish(tx, job.number).await
    };
    for (size, until) in [(3, 110), (10, 210), (50, 310)] {
        let report = ended(Job::batches(&db.pool).filter(TODO).size(size).run(work)).await.unwrap();
        assert_eq!(counts(&report), (10, 0, 10));
        assert_times(&db, |number| i64::from(number < until - 100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_row_that_is_moved_back_before_it_is_done_is_left_and_counted() {
    let db = jobs(2, 20).await;
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        if job.number == 0 {
            // Two rows change their places: this one and the last.
            for (from, to) in [(0, -1), (19, 0), (-1, 19)] {
                let update = format!("UPDATE jobs SET number = {to} WHERE number = {from}");
                sqlx::raw_sql(plain(&update)).execute(&mut **tx).await?;
            }
            return finish(tx, 19).await;
        }
        finish(tx, job.number).await
    };
    let report = Job::batches(&db.pool).filter(TODO).size(5).run(work).await.unwrap();
    assert_eq!(counts(&report), (19, 0, 1));
    let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
    assert_eq!(counts(&Job::batches(&db.pool).filter(TODO).size(5).run(work).await.unwrap()), (1, 0, 0));
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_where_nothing_is_to_do_one_statement_says_so() {
    let db = jobs(2, 0).await;
    for _ in ["an empty table", "a filter that holds for no row"] {
        let work = async |_: &mut Transaction<Db>, _: Job| Err::<(), BoxError>("there is none".into());
        let (report, seen) = statements(Job::batches(&db.pool).filter(TODO).run(work)).await;
        assert_eq!((counts(&report.unwrap()), seen.len()), ((0, 0, 0), 1), "{seen:#?}");
        Job::bulk_create_new(&db.pool, (0..5).map(|number| Job { number, times: 1 })).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_run_has_one_statement_for_its_end_and_none_more_for_each_page() {
    let db = jobs(2, 10).await;
    let work = async |_: &mut Transaction<Db>, _: Job| Ok::<_, BoxError>(());
    for (size, pages) in [(3, 4), (4, 3), (20, 1)] {
        let (report, seen) = statements(Job::batches(&db.pool).size(size).run(work)).await;
        assert_eq!(report.unwrap().done, 10);
        let is_look = |sql: &&String| sql.contains("SELECT");
        // For each page its keys and its rows; besides the last key, and what is left.
        assert_eq!(seen.iter().filter(is_look).count(), 2 * pages + 2, "{seen:#?}");
    }
}

/// Jobs with tools that refer to them.
async fn jobs_with_tools(connections: u32, count: i64) -> Fixture {
    let db = jobs(connections, count).await;
    db.run("CREATE TABLE tools (number BIGINT NOT NULL, FOREIGN KEY (number) REFERENCES jobs (number))").await;
    db
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_child_rows_of_a_batchs_rows_are_inserted_meanwhile_where_the_database_lets_them() {
    let db = jobs_with_tools(4, 12).await;
    let others = Mutex::new(JoinSet::new());
    let report = Job::batches(&db.pool).filter(TODO).size(5).run(async |tx, job: Job| {
        let insert = format!("INSERT INTO tools (number) VALUES ({})", job.number);
        match Db::NAME {
            // By another connection, which the batch waits for.
            "PostgreSQL" => sqlx::raw_sql(plain(&insert)).execute(&db.pool).await.map(drop)?,
            // By its own transaction; another connection waits for the batch.
            name => {
                sqlx::raw_sql(plain(&insert)).execute(&mut **tx).await?;
                let pool = db.outside.clone();
                if name == "MySQL" && job.number == 7 {
                    let insert = async move { sqlx::raw_sql(plain(&insert)).execute(&pool).await.map(drop) };
                    others.lock().unwrap().spawn(insert);
                }
            }
        }
        finish(tx, job.number).await
    });
    let report = ended(report).await.unwrap();
    assert_eq!(counts(&report), (12, 0, 0), "{:?}", report.failures);
    let others = others.into_inner().unwrap().join_all().await;
    assert_eq!(db.count("tools").await, 12 + others.len() as i64);
    assert!(others.into_iter().all(|outcome| outcome.is_ok()));
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_run_does_not_wait_for_child_rows_that_others_have_in_hand_where_the_database_lets_it() {
    if Db::NAME != "PostgreSQL" {
        return;
    }
    let db = jobs_with_tools(3, 12).await;
    let mut other = upsertable::begin(&db.outside).await.unwrap();
    sqlx::query("INSERT INTO tools (number) VALUES (0), (6), (11)").execute(&mut *other).await.unwrap();
    let work = async |tx: &mut Transaction<Db>, job: Job| finish(tx, job.number).await;
    let report = ended(Job::batches(&db.pool).filter(TODO).size(5).run(work)).await.unwrap();
    assert_eq!(counts(&report), (12, 0, 0), "{:?}", report.failures);
    other.commit().await.unwrap();
    assert_times(&db, |_| 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_values_are_bound_on_every_database() {
    let db = Fixture::new().await;
    lessons(&db).await;
    let states = [None, Some("a?b"), Some("c"), Some("d")];
    let rows = states.iter().zip(0..).map(|(state, part)| Lesson {
        chapter: "it's ?".into(),
        part,
        times: part * 10,
        state: state.map(Into::into),
    });
    Lesson::bulk_create_new(&db.pool, rows).await.unwrap();
    let parts = async |batches: upsertable::Batches<'_, Db, Lesson>| {
        let seen = Mutex::new(Vec::new());
        let work = async |_: &mut Transaction<Db>, lesson: Lesson| {
            seen.lock().unwrap().push(lesson.part);
            Ok::<_, BoxError>(())
        };
        let report = batches.size(1).run(work).await?;
        let seen = seen.into_inner().unwrap();
        assert_eq!((report.done, report.left), (seen.len() as u64, seen.len() as u64));
        Ok::<_, Error>(seen)
    };
    let batches = || Lesson::batches(&db.pool);
    assert_eq!(parts(batches().filter("state = 'a?b' OR part > ?").bind(2_i64)).await.unwrap(), [1, 3]);
    let two =
        batches().filter("state = ? -- ?").bind("c".to_owned()).filter("times IN (?, ?) /* ' */").bind(20).bind(5);
    assert_eq!(parts(two).await.unwrap(), [2]);
    let cast = batches().filter("part < ? OR (state IS NULL AND times = ?)").bind(-1_i64).bind(Some(0_i64));
    assert_eq!(parts(cast).await.unwrap(), [0]);
    assert_eq!(parts(batches().filter("1 = 0")).await.unwrap(), Vec::<i64>::new());
    assert_eq!(parts(batches()).await.unwrap(), [0, 1, 2, 3]);

    let missing = parts(batches().filter("part = ? AND times = ?").bind(1_i64)).await.unwrap_err();
    assert_eq!(kind(&missing), "Unsupported");
    assert!(missing.to_string().contains("the filter has 2 `?` and 1 bound"), "{missing}");
    assert_eq!(kind(&parts(batches().bind(1_i64)).await.unwrap_err()), "Unsupported");
    let wrong = parts(batches().filter("no_such_column = 1")).await.unwrap_err();
    assert_eq!(kind(&wrong), "Sql");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_with_an_error_says_how_much_is_kept() {
    let db = jobs(3, 20).await;
    let broken = AtomicBool::new(false);
    let work = async |tx: &mut Transaction<Db>, job: Job| {
        if job.number == 12 && !broken.swap(true, Ordering::SeqCst) {
            // After this batch nothing can be read any more.
            tx.on_commit({
                let pool = db.pool.clone();
                async move { drop(tokio::spawn(async move { pool.close().await })) }
            });
        }
        finish(tx, job.number).await
    };
    let error = Job::batches(&db.pool).filter(TODO).size(5).run(work).await.unwrap_err();
    let Error::Partly { committed, .. } = &error else { panic!("{error}") };
    assert!((15..=20).contains(committed), "{committed}");
    assert_eq!(db.number("SELECT count(*) FROM jobs WHERE times = 1").await, committed.cast_signed());
}

async fn touch<DB: Backend, M: On<DB>>(pool: &Pool<DB>, filter: &'static str) -> Result<u64, Error> {
    let calls = AtomicU64::new(0);
    let work = async |tx: &mut Transaction<DB>, row: M| {
        let key = row.key();
        assert!(M::find(&mut *tx, key).await?.is_some());
        calls.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(())
    };
    let report = M::batches(pool).filter(filter).run(work).await?;
    assert_eq!(report.done, calls.into_inner());
    Ok(report.done)
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_functions_and_spawned_tasks_may_run_batches() {
    let db = jobs(2, 5).await;
    let pool = db.pool.clone();
    assert_eq!(tokio::spawn(async move { touch::<_, Job>(&pool, TODO).await }).await.unwrap().unwrap(), 5);
    let pool = db.pool.clone();
    let name = String::from("owned");
    let spawned = tokio::spawn(async move {
        let length = name.len();
        let work = async |tx: &mut Transaction<Db>, job: Job| {
            tx.savepoint(async |tx: &mut Transaction<Db>| finish(tx, job.number).await).await?;
            assert_eq!(length, name.len());
            Ok::<_, BoxError>(())
        };
        Job::batches(&pool).filter(TODO).run(work).await
    });
    assert_eq!(spawned.await.unwrap().unwrap().done, 5);
}
