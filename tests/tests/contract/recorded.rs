//! Record of the statements of each call.
//!
//! It shows that a change of the code's form has changed none of them.
//!
//! With `UPSERTABLE_RECORD=folder`, a file for each database is written there; `diff -r` compares those of two trees.

use std::{fmt::Write as _, path::PathBuf};

use futures_util::future::BoxFuture;
use sqlx::Database as _;
use upsertable::{Model, On, Upsertable, testing::statements};
use upsertable_tests::models::{Retweet, retweet};

use super::{
    Db,
    tables::{self, Outsider, Song, Topic, WallClock, song, topic},
};

const SIZES: [usize; 4] = [1, 10, 1_500, 20_000];

/// A call on so many rows, of which some are there.
type Call<M> = for<'c> fn(Place<'c>, Vec<<M as Model>::New>) -> BoxFuture<'c, ()>;

/// Handle on which a call is recorded.
enum Place<'c> {
    Pool(&'c sqlx::Pool<Db>),
    Connection(&'c mut <Db as sqlx::Database>::Connection),
    Transaction(&'c mut upsertable::Transaction<Db>),
}

/// Makes a call wherever it is recorded.
macro_rules! on {
    ($place:expr, $db:ident => $call:expr) => {
        match $place {
            Place::Pool($db) => drop($call.await.unwrap()),
            Place::Connection($db) => drop($call.await.unwrap()),
            Place::Transaction($db) => drop($call.await.unwrap()),
        }
    };
}

fn calls<M: On<Db>>() -> [(&'static str, Call<M>); 6]
where
    M::New: Clone + Send + Sync + 'static,
    M::Key: Send,
{
    [
        ("get_or_create", |place, rows| {
            Box::pin(async move { on!(place, db => M::get_or_create(db, rows[0].clone())) })
        }),
        ("upsert", |place, rows| Box::pin(async move { on!(place, db => M::upsert(db, rows[0].clone())) })),
        ("bulk_create_new", |place, rows| Box::pin(async move { on!(place, db => M::bulk_create_new(db, rows)) })),
        ("bulk_get_or_create", |place, rows| {
            Box::pin(async move { on!(place, db => M::bulk_get_or_create(db, rows)) })
        }),
        ("bulk_upsert", |place, rows| Box::pin(async move { on!(place, db => M::bulk_upsert(db, rows)) })),
        ("verify", |place, _| Box::pin(async move { on!(place, db => M::verify(db)) })),
    ]
}

/// Shows a statement without chance names and long lists.
///
/// The name of a staging table is without what chance has put into it, and long lists of values are cut.
fn shown(sql: &str) -> String {
    const STAGED: &str = "upsertable_staged_";
    let mut out = String::new();
    let mut rest = sql;
    while let Some(position) = rest.find(STAGED) {
        let (before, behind) = rest.split_at(position + STAGED.len());
        out.push_str(before);
        rest = behind.trim_start_matches(|letter: char| letter.is_ascii_hexdigit());
    }
    out.push_str(rest);
    let end = out.char_indices().nth(4_000).map_or(out.len(), |(position, _)| position);
    let length = out.len();
    out.truncate(end);
    format!("{out} ({length} bytes)")
}

async fn record<M: On<Db>>(name: &str, rows: fn(usize) -> Vec<M::New>, out: &mut String)
where
    M::New: Clone + Send + Sync + 'static,
    M::Key: Send,
{
    for (call_name, call) in calls::<M>() {
        for place in ["pool", "connection", "transaction"] {
            for size in if call_name.starts_with("bulk") { &SIZES[..] } else { &SIZES[..1] } {
                let db = tables::fixture_of(1).await;
                for there in ["none", "all"] {
                    let _ = writeln!(out, "\n## {name}::{call_name} on a {place}, {size} rows, {there} there");
                    let rows = rows(*size);
                    let seen = match place {
                        "pool" => statements(call(Place::Pool(&db.pool), rows)).await.1,
                        "connection" => {
                            let mut conn = db.pool.acquire().await.unwrap();
                            statements(call(Place::Connection(&mut conn), rows)).await.1
                        }
                        _ => {
                            let mut tx = upsertable::begin(&db.pool).await.unwrap();
                            let seen = statements(call(Place::Transaction(&mut tx), rows)).await.1;
                            tx.commit().await.unwrap();
                            seen
                        }
                    };
                    for sql in &seen {
                        let _ = writeln!(out, "{}", shown(sql));
                    }
                }
            }
        }
    }
}

fn hours(size: usize) -> Vec<WallClock> {
    let hour = |year| WallClock { origin: "x".into(), year, month: 1, day: 1, hour: 1, temp: 0.5 };
    (0..size as i32).map(hour).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statements_of_each_call_are_written_down_where_asked_for() {
    let Some(folder) = std::env::var_os("UPSERTABLE_RECORD").map(PathBuf::from) else { return };
    let mut out = String::new();
    record::<Retweet>("Retweet", |size| (0..size as i64).map(|n| retweet(n, n)).collect(), &mut out).await;
    record::<Song>("Song", |size| (0..size).map(|n| song(&n.to_string(), 1, "x")).collect(), &mut out).await;
    record::<Topic>("Topic", |size| (0..size).map(|n| topic(&n.to_string(), "x")).collect(), &mut out).await;
    let outsider = |size| (0..size as i64).map(|n| Outsider { s: n, n, other: n }).collect();
    record::<Outsider>("Outsider", outsider, &mut out).await;
    record::<WallClock>("WallClock", hours, &mut out).await;
    let server = tables::fixture_of(1).await.server.name;
    std::fs::write(folder.join(format!("{}-{server}.txt", Db::NAME)), out).unwrap();
}
