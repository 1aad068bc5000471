//! Contenders that differ between databases only in texts and limits.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use sea_orm::{DatabaseConnection, EntityTrait as _, TransactionTrait as _, TryInsertResult};
use sqlx::{
    AssertSqlSafe, Connection as _, Database, Encode, Executor, FromRow, IntoArguments, Pool, SqlSafeStr as _, Type,
};
use upsertable::{Backend, On, Upsertable as _};

use crate::cpu;
use crate::workload::{
    self, Bind, Workload,
    retweets::{NewRetweet, Retweet},
};

/// Work on some rows, ready to go.
///
/// The time it takes to await it is what is timed.
pub type Job<'c> = LocalBoxFuture<'c, Result<()>>;

/// Mean clock and processor time of a call.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    pub clock_ms: f64,
    pub cpu_ms: f64,
}

impl Time {
    pub async fn of_each<'c>(jobs: impl IntoIterator<Item = Job<'c>>, calls: u64) -> Result<Self> {
        let (cpu, clock) = (cpu::used(), Instant::now());
        for job in jobs {
            job.await?;
        }
        let (clock, cpu) = (clock.elapsed(), cpu::used().saturating_sub(cpu));
        let each = |time: Duration| time.as_secs_f64() * 1e3 / calls as f64;
        Ok(Self { clock_ms: each(clock), cpu_ms: each(cpu) })
    }
}

/// A way to store rows, some of which may be there.
pub trait Contender<R> {
    /// Takes the rows in the form in which it wants them.
    fn prepare<'c>(&'c self, rows: &[R]) -> Job<'c>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ours,
    /// Cannot cope with rows that are there.
    ///
    /// So it always stores all rows into an empty table.
    Limit,
    Rival,
}

pub struct Entry<R> {
    pub name: String,
    pub role: Role,
    pub contender: Box<dyn Contender<R>>,
}

impl<R> Entry<R> {
    pub fn new(name: impl Into<String>, role: Role, contender: impl Contender<R> + 'static) -> Self {
        Self { name: name.into(), role, contender: Box::new(contender) }
    }
}

/// Caps `rows` at what the binds of one statement allow.
pub fn fitting<R: Workload>(rows: usize, max_binds: usize) -> usize {
    rows.min(max_binds / R::COLUMNS.len())
}

pub struct Ours<DB: Database>(pub Pool<DB>);

impl<DB: Backend, R: Workload> Contender<R> for Ours<DB>
where
    R::Model: On<DB>,
{
    fn prepare<'c>(&'c self, rows: &[R]) -> Job<'c> {
        let rows = rows.to_vec();
        async move {
            R::Model::bulk_create_new(&self.0, rows).await?;
            Ok(())
        }
        .boxed_local()
    }
}

/// This crate, with a call for each row.
pub struct OursOneByOne<DB: Database>(pub Pool<DB>);

impl<DB: Backend, R: Workload> Contender<R> for OursOneByOne<DB>
where
    R::Model: On<DB>,
{
    fn prepare<'c>(&'c self, rows: &[R]) -> Job<'c> {
        let rows = rows.to_vec();
        async move {
            for row in rows {
                R::Model::get_or_create(&self.0, row).await?;
            }
            Ok(())
        }
        .boxed_local()
    }
}

/// Multi-row INSERTs by hand with sqlx.
///
/// `INSERT INTO .. VALUES (..), (..)`, followed by `conflict`.
pub struct Values<DB: Database> {
    pub pool: Pool<DB>,
    pub table: &'static str,
    pub begin: &'static str,
    /// SQL that follows the values.
    pub conflict: String,
    pub chunk: usize,
}

impl<DB: Database, R: Workload + Bind<DB>> Contender<R> for Values<DB>
where
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    fn prepare<'c>(&'c self, rows: &[R]) -> Job<'c> {
        let rows = rows.to_vec();
        async move {
            let mut conn = self.pool.acquire().await?;
            if rows.len() <= self.chunk {
                return self.run(&mut conn, rows).await;
            }
            let mut tx = conn.begin_with(self.begin).await?;
            self.run(&mut tx, rows).await?;
            Ok(tx.commit().await?)
        }
        .boxed_local()
    }
}

impl<DB: Database> Values<DB>
where
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    async fn run<R: Workload + Bind<DB>>(&self, conn: &mut DB::Connection, rows: Vec<R>) -> Result<()> {
        // All full chunks have one text, so that it is made once, and prepared once a connection.
        let full = (rows.len() >= self.chunk).then(|| AssertSqlSafe(self.text::<R>(self.chunk)).into_sql_str());
        let mut rows = rows.into_iter();
        loop {
            let mut arguments = DB::Arguments::default();
            let mut count = 0;
            for row in rows.by_ref().take(self.chunk) {
                row.bind(&mut arguments).map_err(sqlx::Error::Encode)?;
                count += 1;
            }
            match &full {
                _ if count == 0 => return Ok(()),
                Some(text) if count == self.chunk => {
                    sqlx::query_with(text.clone(), arguments).execute(&mut *conn).await?
                }
                _ => {
                    let text = AssertSqlSafe(self.text::<R>(count));
                    sqlx::query_with(text, arguments).execute(&mut *conn).await?
                }
            };
        }
    }

    fn text<R: Workload>(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; R::COLUMNS.len()].join(","));
        let rows = vec![row; rows].join(",");
        format!("INSERT INTO {} ({}) VALUES {rows} {}", self.table, workload::columns::<R>(), self.conflict)
    }
}

/// Insert by `SeaORM`'s `insert_many`.
pub struct Sea {
    pub db: DatabaseConnection,
    pub chunk: usize,
}

impl<R: Workload> Contender<R> for Sea {
    fn prepare<'c>(&'c self, rows: &[R]) -> Job<'c> {
        let rows: Vec<_> = rows.iter().map(R::sea).collect();
        async move {
            if rows.len() <= self.chunk {
                return sea_insert::<R>(&self.db, rows).await;
            }
            let tx = self.db.begin().await?;
            let mut rows = rows.into_iter();
            loop {
                let chunk: Vec<_> = rows.by_ref().take(self.chunk).collect();
                if chunk.is_empty() {
                    break;
                }
                sea_insert::<R>(&tx, chunk).await?;
            }
            Ok(tx.commit().await?)
        }
        .boxed_local()
    }
}

async fn sea_insert<R: Workload>(
    db: &impl sea_orm::ConnectionTrait,
    rows: Vec<<R::Entity as sea_orm::EntityTrait>::ActiveModel>,
) -> Result<()> {
    let insert = R::Entity::insert_many(rows).on_conflict_do_nothing_on(R::sea_key());
    let done = insert.exec_without_returning(db).await?;
    ensure!(!matches!(done, TryInsertResult::Empty), "SeaORM was given no rows");
    Ok(())
}

/// Insert by Diesel's `insert_into(..).values(..)`.
pub struct DieselInsert<C, R: Workload> {
    pub conn: RefCell<C>,
    pub chunk: usize,
    pub insert: fn(&mut C, &[R::Diesel]) -> diesel::QueryResult<usize>,
}

impl<C: diesel::Connection, R: Workload> Contender<R> for DieselInsert<C, R> {
    fn prepare<'c>(&'c self, rows: &[R]) -> Job<'c> {
        let rows: Vec<_> = rows.iter().map(R::diesel).collect();
        async move {
            let mut conn = self.conn.borrow_mut();
            if rows.len() <= self.chunk {
                (self.insert)(&mut conn, &rows)?;
                return Ok(());
            }
            conn.transaction(|conn| rows.chunks(self.chunk).try_for_each(|chunk| (self.insert)(conn, chunk).map(drop)))
                .map_err(|error: diesel::result::Error| error.into())
        }
        .boxed_local()
    }
}

/// SELECT, then INSERT if missing, row by row with sqlx.
pub struct OneByHand<DB: Database> {
    pub pool: Pool<DB>,
    pub select: &'static str,
    /// Statement that gives back the new row where the database can.
    pub insert: &'static str,
}

impl<DB: Database> Contender<NewRetweet> for OneByHand<DB>
where
    for<'e> &'e Pool<DB>: Executor<'e, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    Retweet: for<'r> FromRow<'r, DB::Row>,
{
    fn prepare<'c>(&'c self, rows: &[NewRetweet]) -> Job<'c> {
        let rows = rows.to_vec();
        async move {
            for row in rows {
                let find = || sqlx::query_as::<_, Retweet>(self.select).bind(row.tweet).bind(row.retweeter);
                let mut found = find().fetch_optional(&self.pool).await?;
                if found.is_none() {
                    let insert = sqlx::query_as(self.insert).bind(row.tweet).bind(row.retweeter);
                    found = insert.bind(row.original_author).fetch_optional(&self.pool).await?;
                }
                if found.is_none() {
                    found = find().fetch_optional(&self.pool).await?;
                }
                ensure!(found.is_some(), "the row was neither found nor made");
            }
            Ok(())
        }
        .boxed_local()
    }
}
