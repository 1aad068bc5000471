//! Sessions with settings, and every call to compare them by.

// A model's columns say what they are by their names.
#![allow(missing_docs)]

use std::{fmt::Write as _, ops::Range};

use sqlx::{AssertSqlSafe, Connection, Database, Executor, Pool, pool::PoolOptions};
use upsertable::{Error, Holds, On, Outcome, Upsertable};

use crate::TestDb;

/// A pool whose sessions have each run this statement.
///
/// # Errors
///
/// What the database says of the statement.
pub async fn pool_set_to<DB: Database>(
    options: &<DB::Connection as Connection>::Options,
    connections: u32,
    set: &str,
) -> Result<Pool<DB>, sqlx::Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let set = set.to_owned();
    PoolOptions::new()
        .max_connections(connections)
        .after_connect(move |conn: &mut DB::Connection, _| {
            let set = set.clone();
            Box::pin(async move { conn.execute(AssertSqlSafe(set)).await.map(drop) })
        })
        .connect_with(options.clone())
        .await
}

/// A row with a column of most kinds.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "items")]
#[unique(code, kind)]
pub struct Item {
    #[upsertable(generated)]
    pub id: i64,
    pub code: String,
    pub kind: i64,
    pub weight: f64,
    pub note: Option<String>,
}

/// A row that refers to the one before it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "numbers")]
#[unique(k)]
pub struct Number {
    pub k: i64,
    pub parent: Option<i64>,
}

fn item(number: i64, weight: f64) -> NewItem {
    let note = (number % 2 == 0).then(|| format!("note {number}"));
    NewItem { code: format!("Code_\\%{number}"), kind: number % 3, weight, note }
}

fn items(numbers: Range<i64>, weight: f64) -> Vec<NewItem> {
    numbers.map(|number| item(number, weight)).collect()
}

fn numbers(numbers: Range<i64>) -> impl Iterator<Item = Number> + Clone + Send {
    numbers.map(|k| Number { k, parent: (k > 0).then_some(k - 1) })
}

/// Number of items after [`every_call`].
pub const ITEMS: usize = 162;

/// Makes every kind of call, with few rows and many, known and new.
///
/// What they give is written down, without what a sequence may skip. The items are found by their code as `spell` spells it.
///
/// # Errors
///
/// That of the first call that fails.
pub async fn every_call<T: TestDb>(
    pool: &Pool<T::Db>,
    spell: fn(&str) -> String,
    told: &mut String,
) -> Result<(), Error>
where
    T::Db: Holds<f64>,
    Item: On<T::Db>,
    Number: On<T::Db>,
{
    let mut tell = |what: &dyn std::fmt::Debug| {
        let _ = writeln!(told, "{what:?}");
    };
    let plain = |outcome: Outcome<Item>| (outcome.row.code, outcome.row.weight, outcome.row.note, outcome.created);
    for number in [1, 1] {
        tell(&plain(Item::get_or_create(pool, item(number, 0.1)).await?));
    }
    let key = ItemKey { code: "with".into(), kind: 1 };
    tell(&plain(Item::get_or_create_with(pool, key, async || Ok::<_, Error>(item(7, 1.0))).await?));
    for number in [1, 2] {
        tell(&plain(Item::upsert(pool, item(number, 0.25)).await?));
    }
    tell(&Item::bulk_create_new(pool, items(0..60, 1.5)).await?);
    let all = Item::bulk_get_or_create(pool, items(40..100, 2.5)).await?;
    tell(&all.into_iter().map(plain).collect::<Vec<_>>());
    tell(&Item::bulk_upsert(pool, items(80..140, 3.5)).await?);
    let keys = items(0..160, 0.0).into_iter().map(move |one| ItemKey { code: spell(&one.code), kind: one.kind });
    let found = Item::find_all(pool, keys).await?;
    tell(&found.iter().map(|row| row.as_ref().map(|row| row.weight)).collect::<Vec<_>>());
    for range in [0..1_500, 1_400..1_600, 1_590..1_599] {
        tell(&Number::bulk_create_new(pool, numbers(range)).await?);
    }
    let mut tx = upsertable::begin(pool).await?;
    tell(&Item::bulk_upsert(&mut tx, items(120..160, 4.5)).await?);
    tell(&plain(Item::get_or_create(&mut tx, item(900, 4.5)).await?));
    tx.commit().await?;
    let weigh = async |tx: &mut upsertable::Transaction<T::Db>, item: Item| {
        T::execute(tx.raw(), format!("UPDATE items SET weight = 9 WHERE id = {}", item.id)).await.map(drop)
    };
    let done = Item::batches(pool).filter("weight < ?").bind(0.3).size(1).run(weigh).await?;
    tell(&(done.done, done.failed, done.left));
    tell(&Item::verify(pool).await?);
    Ok(())
}
