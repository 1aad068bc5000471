//! A run over a table: pages of keys, and a transaction for each.

use std::{
    any::Any,
    collections::HashSet,
    marker::PhantomData,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Mutex as SyncMutex, PoisonError},
};

use futures_core::future::BoxFuture;
use futures_util::{
    FutureExt as _,
    future::{Either, Shared, join_all, select},
    lock::Mutex,
};
use sqlx::Pool;

use super::{
    BatchProgress, BatchReport, Batches, Bind, CallEach,
    span::{Span, Spans},
};
use crate::{
    BoxError, Error,
    backend::{Backend, pages::Rows},
    error::Ending,
    handle::{Link, Session},
    model::{self, On, UniqueKey as _},
    retry::Retry,
    sql::{Sql, Statement},
    table::{Table, Target},
    transaction::{Transaction, TransactionOptions},
    values::KeyRow,
};

/// What is done for each row, with the closure's type taken out.
pub(super) trait Work<DB: Backend, M>: Send + Sync {
    fn row<'t>(&'t self, tx: &'t mut Transaction<DB>, row: M) -> BoxFuture<'t, Result<(), BoxError>>;
}

pub(super) struct Erased<F, E> {
    work: F,
    error: PhantomData<fn() -> E>,
}

impl<F, E> Erased<F, E> {
    pub(super) fn new(work: F) -> Self {
        Self { work, error: PhantomData }
    }
}

impl<DB, M, F, E> Work<DB, M> for Erased<F, E>
where
    DB: Backend,
    M: On<DB>,
    E: Into<BoxError> + Send,
    for<'t> F: AsyncFn(&'t mut Transaction<DB>, M) -> Result<(), E>
        + CallEach<&'t mut Transaction<DB>, M, Result<(), E>, Fut: Send>
        + Send
        + Sync,
{
    fn row<'t>(&'t self, tx: &'t mut Transaction<DB>, row: M) -> BoxFuture<'t, Result<(), BoxError>> {
        Box::pin(async move { (self.work)(tx, row).await.map_err(Into::into) })
    }
}

/// A run, with all that its batches share.
pub(super) struct Run<'r, 'a, DB: Backend, M: On<DB>> {
    pool: &'a Pool<DB>,
    target: Target,
    condition: Option<String>,
    values: Vec<Bind<'a, DB>>,
    size: usize,
    concurrency: usize,
    options: TransactionOptions,
    work: &'r dyn Work<DB, M>,
    stop: Shared<BoxFuture<'a, ()>>,
    state: Mutex<State<'a, M::Key>>,
}

struct State<'a, K> {
    spans: Spans<K>,
    report: BatchReport<K>,
    on_progress: Box<dyn FnMut(BatchProgress) + Send + 'a>,
    /// It was told to stop, or has failed.
    over: bool,
}

/// The keys of a batch's rows as they were read before it begins, each with what it is known by.
struct Page<K> {
    after: Option<K>,
    keys: Vec<(K, Vec<u8>)>,
    /// Whether to wait for rows that others have locked.
    wait: bool,
}

/// What one transaction is to do.
#[derive(Clone)]
struct Part<K> {
    span: Span<K>,
    limit: usize,
    wait: bool,
    /// Whether each row has a savepoint.
    careful: bool,
}

/// What one transaction has done.
struct Done<K> {
    rows: u64,
    failures: Vec<(K, BoxError)>,
    seen: Vec<Vec<u8>>,
    /// The last row's key, where there may be more rows.
    more_after: Option<K>,
}

impl<K> Default for Done<K> {
    fn default() -> Self {
        Self { rows: 0, failures: Vec::new(), seen: Vec::new(), more_after: None }
    }
}

/// Why a transaction was given up.
enum Abort {
    /// A row failed, and this is why.
    Row(BoxError),
    /// The rows could not be read.
    Read(Error),
    /// The run was told to stop while it waited for rows that others have locked.
    Stopped,
    /// It could not be begun or committed.
    Transaction(Error),
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Transaction(error)
    }
}

impl Abort {
    /// Whether no other go at the rows can help.
    fn ends_run(&self) -> bool {
        match self {
            Self::Read(_) | Self::Stopped => true,
            Self::Row(_) | Self::Transaction(Error::RolledBack { .. } | Error::Ended { .. }) => false,
            Self::Transaction(error) => {
                error.is_connection_lost() || error.as_sql().is_none_or(|error| error.as_database_error().is_none())
            }
        }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Read(error) | Self::Transaction(error) => error,
            Self::Row(error) => Error::Sql(sqlx::Error::AnyDriverError(error)),
            Self::Stopped => Error::Ended { reason: Ending::Cancelled },
        }
    }

    fn into_failure(self) -> BoxError {
        match self {
            Self::Row(error) => error,
            abort => abort.into_error().into(),
        }
    }
}

impl<'r, 'a, DB: Backend, M: On<DB>> Run<'r, 'a, DB, M> {
    pub(super) fn new(batches: Batches<'a, DB, M>, work: &'r dyn Work<DB, M>) -> Result<Self, Error> {
        let target = Target::new(Table::of::<M>(), M::Key::INDEX, "batches");
        target.check::<DB>()?;
        let Batches { pool, conditions, values, size, concurrency, options, on_progress, stop, .. } = batches;
        let condition = join::<DB>(&conditions, values.len(), target)?;
        let state = State { spans: Spans::whole(), report: BatchReport::default(), on_progress, over: false };
        let stop = stop.shared();
        let options = match DB::BATCH_ISOLATION {
            Some(isolation) if options.isolation.is_none() => options.isolation(isolation),
            _ => options,
        };
        Ok(Self { pool, target, condition, values, size, concurrency, options, work, stop, state: Mutex::new(state) })
    }

    /// Works until there is nothing left to look at.
    pub(super) async fn finish(self) -> Result<BatchReport<M::Key>, Error> {
        let outcomes = join_all((0..self.concurrency).map(|_| self.work_on())).await;
        let outcome = match outcomes.into_iter().collect::<Result<Vec<()>, Error>>() {
            Ok(_) => self.count().await,
            Err(error) => Err(error),
        };
        let report = self.state.into_inner().report;
        match outcome {
            Ok(left) => Ok(BatchReport { left, ..report }),
            Err(error) if report.done == 0 => Err(error),
            Err(error) => Err(self.target.partly(report.done, error)),
        }
    }

    /// One batch after the other.
    async fn work_on(&self) -> Result<(), Error> {
        loop {
            let outcome = match self.next_page().await {
                Ok(Some(page)) => self.do_page(page).await,
                Ok(None) => return Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                self.state.lock().await.over = true;
                return Err(error);
            }
        }
    }

    async fn next_page(&self) -> Result<Option<Page<M::Key>>, Error> {
        let state = &mut *self.state.lock().await;
        while !state.over && !state.spans.is_empty() {
            if self.stop.clone().now_or_never().is_some() {
                state.over = true;
                state.report.stopped = true;
                break;
            }
            let Some((span, was_left)) = state.spans.next() else { break };
            let keys = self.read_keys(span).await?;
            let after = span.after.clone();
            // Rows can be added at the table's end meanwhile, so it is looked at until nothing more is found there.
            let is_last = keys.is_empty() || span.up_to.is_some() && keys.len() < self.size;
            if let Some((key, _)) = keys.last() {
                span.after = Some(key.clone());
            }
            if is_last {
                state.spans.next_is_done(was_left);
            }
            if !keys.is_empty() {
                return Ok(Some(Page { after, keys, wait: was_left }));
            }
        }
        Ok(None)
    }

    async fn do_page(&self, page: Page<M::Key>) -> Result<(), Error> {
        let up_to = page.keys.last().map(|(key, _)| key.clone());
        // Rows can be added between the keys meanwhile: so many that memory would not stay flat are left to another transaction.
        let limit = self.size.saturating_mul(2);
        let span = Span { after: page.after.clone(), up_to };
        let mut part = Part { span, limit, wait: page.wait, careful: false };
        let mut seen = HashSet::new();
        loop {
            let Some(done) = self.do_part(&part).await? else { return Ok(()) };
            seen.extend(done.seen);
            self.note(done.rows, done.failures).await;
            match done.more_after {
                Some(key) => part.span.after = Some(key),
                None => break,
            }
        }
        if DB::skips_locked() && !page.wait {
            self.state.lock().await.spans.leave(page.after, page.keys, &seen);
        }
        Ok(())
    }

    async fn note(&self, rows: u64, failures: Vec<(M::Key, BoxError)>) {
        let state = &mut *self.state.lock().await;
        state.report.done += rows;
        state.report.add_failures(failures);
        (state.on_progress)(BatchProgress { done: state.report.done, failed: state.report.failed });
    }

    /// Does the rows in one transaction; where that fails, in one with savepoints; where that fails too, in one for each. Nothing, where others
    /// hold the rows for longer than the database waits, or the run is told to stop meanwhile.
    async fn do_part(&self, part: &Part<M::Key>) -> Result<Option<Done<M::Key>>, Error> {
        for careful in [false, true] {
            match self.attempt(&Part { careful, ..part.clone() }, &SyncMutex::new(None)).await {
                Ok(done) => return Ok(Some(done)),
                Err(Abort::Stopped) => {
                    let state = &mut *self.state.lock().await;
                    state.over = true;
                    state.report.stopped = true;
                    return Ok(None);
                }
                Err(Abort::Read(error)) if part.wait && error.is_retryable() => return Ok(None),
                Err(abort) if abort.ends_run() => return Err(abort.into_error()),
                Err(_) => {}
            }
        }
        self.one_by_one(part).await.map(Some)
    }

    async fn one_by_one(&self, part: &Part<M::Key>) -> Result<Done<M::Key>, Error> {
        let mut all = Done::default();
        let mut part = Part { limit: 1, ..part.clone() };
        loop {
            let at = SyncMutex::new(None);
            let outcome = self.attempt(&part, &at).await;
            let key = at.into_inner().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(done) => {
                    all.rows += done.rows;
                    all.seen.extend(done.seen);
                    match done.more_after {
                        Some(key) => part.span.after = Some(key),
                        None => return Ok(all),
                    }
                }
                Err(abort) => match key {
                    Some(key) if !abort.ends_run() => {
                        all.seen.push(self.identity(&key)?);
                        all.failures.push((key.clone(), abort.into_failure()));
                        part.span.after = Some(key);
                    }
                    _ => return Err(abort.into_error()),
                },
            }
        }
    }

    /// One transaction, done again while others stand in its way. `at` tells which row it has come to.
    async fn attempt(&self, part: &Part<M::Key>, at: &SyncMutex<Option<M::Key>>) -> Result<Done<M::Key>, Abort> {
        let work = async |tx: &mut Transaction<DB>| self.take(tx, part, at).await;
        self.options.clone().run(self.pool, work).await
    }

    async fn take(
        &self,
        tx: &mut Transaction<DB>,
        part: &Part<M::Key>,
        at: &SyncMutex<Option<M::Key>>,
    ) -> Result<Done<M::Key>, Abort> {
        let rows = if part.wait { self.wait_for_rows(tx, part).await? } else { self.read_rows(tx, part).await? };
        let may_be_more = rows.len() == part.limit;
        let mut done = Done::default();
        let mut last = None;
        for row in rows {
            let key = model::read_key::<DB, M>(KeyRow::of_row(&row, self.target.key))
                .map_err(|error| Abort::Read(error.into()))?;
            done.seen.push(self.identity(&key).map_err(Abort::Read)?);
            *at.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
            let outcome = if part.careful { self.do_row_saved(tx, row).await } else { self.do_row(tx, row).await };
            match outcome {
                Ok(()) => done.rows += 1,
                Err(error) if part.careful && !tx.lost() && tx.check().await.is_ok() => {
                    done.failures.push((key.clone(), error));
                }
                Err(error) => return Err(Abort::Row(error)),
            }
            last = Some(key);
        }
        done.more_after = last.filter(|_| may_be_more);
        Ok(done)
    }

    async fn do_row_saved(&self, tx: &mut Transaction<DB>, row: DB::Row) -> Result<(), BoxError> {
        tx.savepoint(async |tx: &mut Transaction<DB>| self.do_row(tx, row).await).await
    }

    async fn do_row(&self, tx: &mut Transaction<DB>, row: DB::Row) -> Result<(), BoxError> {
        let model = model::read::<DB, M>(&row)?;
        drop(row);
        let outcome = AssertUnwindSafe(self.work.row(tx, model)).catch_unwind().await;
        outcome.unwrap_or_else(|panic| Err(panic_message(panic.as_ref()).into()))
    }

    /// The keys of the first rows of a span, without a transaction. It is asked again where another transaction stood in the way.
    async fn read_keys(&self, span: &Span<M::Key>) -> Result<Vec<(M::Key, Vec<u8>)>, Error> {
        let sql = self.rows(span).keys::<DB>(self.size);
        let key = |row: &DB::Row| {
            let key = model::read_key::<DB, M>(KeyRow::of_key(row, self.target.key))?;
            let identity = self.identity(&key)?;
            Ok((key, identity))
        };
        self.read(&sql, span).await?.iter().map(key).collect()
    }

    async fn count(&self) -> Result<u64, Error> {
        let span = Span { after: None, up_to: None };
        let rows = self.read(&self.rows(&span).count::<DB>(), &span).await?;
        let count = rows.first().map_or(Ok(0), DB::number)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn read(&self, sql: &Sql, span: &Span<M::Key>) -> Result<Vec<DB::Row>, Error> {
        let mut retry = Retry::new::<DB>();
        loop {
            let outcome = match Session::Pool(self.pool).link().await {
                Ok(mut link) => link.fetch(self.statement(sql, span)?).await.map_err(Error::from),
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if error.is_retryable() && retry.again(error.as_sql()).await => {}
                outcome => return outcome,
            }
        }
    }

    /// The same where others may hold the rows for long: the run can be told to stop meanwhile.
    async fn wait_for_rows(&self, tx: &mut Transaction<DB>, part: &Part<M::Key>) -> Result<Vec<DB::Row>, Abort> {
        match select(pin!(self.read_rows(tx, part)), self.stop.clone()).await {
            Either::Left((rows, _)) => return rows,
            Either::Right(_) => {}
        }
        // The server still waits, so nothing else can run on this connection.
        tx.set_unfinished(true);
        Err(Abort::Stopped)
    }

    /// The rows of a batch, taken by its transaction.
    async fn read_rows(&self, tx: &mut Transaction<DB>, part: &Part<M::Key>) -> Result<Vec<DB::Row>, Abort> {
        tx.check().await?;
        let mut link = Link::Inside(&mut *tx);
        loop {
            let sql = self.rows(&part.span).take::<DB>(part.limit, part.wait);
            let statement = self.statement(&sql, &part.span).map_err(|error| Abort::Read(error.into()))?;
            match link.fetch(statement).await {
                Err(error) if DB::cannot_skip(&error) => {}
                outcome => return outcome.map_err(|error| Abort::Read(error.into())),
            }
        }
    }

    fn rows(&self, span: &Span<M::Key>) -> Rows<'_> {
        Rows {
            table: self.target.table,
            key: self.target.key,
            condition: self.condition.as_deref(),
            values: self.values.len(),
            after: span.after.is_some(),
            up_to: span.up_to.is_some(),
        }
    }

    fn statement(&self, sql: &Sql, span: &Span<M::Key>) -> Result<Statement<DB>, sqlx::Error> {
        let mut encoder = DB::Encoder::default();
        for bind in &self.values {
            bind(&mut encoder).map_err(sqlx::Error::Encode)?;
        }
        for key in [&span.after, &span.up_to].into_iter().flatten() {
            self.write(key, &mut encoder)?;
            DB::repeat_bound(&mut encoder, self.target.key);
        }
        Ok(Statement::cached(sql, DB::arguments(encoder)))
    }

    /// What a row is known by, which is asked only where others can lock it.
    fn identity(&self, key: &M::Key) -> Result<Vec<u8>, Error> {
        if !DB::skips_locked() {
            return Ok(Vec::new());
        }
        let mut encoder = DB::identity_encoder();
        self.write(key, &mut encoder)?;
        Ok(DB::identity(encoder))
    }

    fn write(&self, key: &M::Key, encoder: &mut DB::Encoder) -> Result<(), sqlx::Error> {
        model::put_key::<DB, M, M::Key>(key, self.target, encoder)
    }
}

/// The filters as one condition. It has to have as many placeholders as there are values: a missing value would be NULL on SQLite, and the
/// filter then hold for no row.
fn join<DB: Backend>(conditions: &[String], values: usize, target: Target) -> Result<Option<String>, Error> {
    let mut joined = String::new();
    let mut count = 0;
    for condition in conditions {
        let (text, placeholders) = DB::QUOTES.placeholders(condition, DB::DIALECT, count + 1);
        count += placeholders;
        if joined.is_empty() {
            joined = text;
        } else {
            joined = format!("{joined}\n) AND ({text}");
        }
    }
    if count != values {
        let what = format!("the filter has {count} `?` and {values} bound values; call `bind` once for each `?`");
        return Err(target.unsupported(what));
    }
    Ok((!conditions.is_empty()).then_some(joined))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the closure panicked: {}", text.unwrap_or("no message"))
}
