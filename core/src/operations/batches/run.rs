//! A run over a table: one transaction for each page.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Mutex as SyncMutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_core::future::BoxFuture;
use futures_util::{
    FutureExt as _,
    future::{Either, Shared, join_all, select},
    lock::Mutex,
};
use sqlx::Pool;

use crate::{
    backend::Backend,
    backend::paging::Rows,
    connection::handle::Session,
    connection::link::Link,
    error::end_reason::EndReason,
    error::meaning::Meaning,
    error::{BoxError, Error},
    model::values::KeyRow,
    model::{On, UniqueKey as _, erased},
    operations::batches::pace::Pace,
    operations::batches::report::{BatchProgress, BatchReport},
    operations::batches::settings::{Bind, Settings, join},
    operations::batches::span::{Span, Spans},
    operations::batches::work::{Work, panic_message},
    operations::target::Target,
    retry::Retry,
    sql::statement::Statement,
    sql::table::Table,
    sql::text::Sql,
    transaction::Transaction,
    transaction::options::TransactionOptions,
};

const ROWS_COME_AGAIN: &str = "rows come to lie ahead of the run as fast as it does them, so that it would not end; where the closure \
     changes the key by which the table is paged, say a filter that holds no longer for a row that is done, or use a model whose first key stays";

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
    types: Vec<DB::TypeInfo>,
    /// Positions of the key's columns in a page of keys.
    positions: Vec<usize>,
    /// The first word of the statements that read rows.
    select: String,
    paging: OnceLock<DB::KeyFacts>,
    /// True once the server has refused to lock a page.
    by_rows: AtomicBool,
    state: Mutex<State<'a, DB, M::Key>>,
}

struct State<'a, DB: Backend, K> {
    /// The parts to look at; `None` before the run has begun.
    spans: Option<Spans<At<DB, K>>>,
    /// True if there was no row when the run began.
    was_empty: bool,
    pace: Pace,
    report: BatchReport<K>,
    on_progress: Box<dyn FnMut(BatchProgress) + Send + 'a>,
    /// True once the run was told to stop, or has failed.
    over: bool,
}

/// A row's key, and its place where the database gives one.
struct At<DB: Backend, K> {
    key: K,
    place: Option<DB::Place>,
}

impl<DB: Backend, K: Clone> Clone for At<DB, K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), place: self.place.clone() }
    }
}

/// A key with the bytes by which it is recognized.
type Known<A> = (A, Vec<u8>);

/// The row that a transaction has come to.
///
/// The number is its place in the page, where it is there.
type Met<A> = SyncMutex<Option<(Option<usize>, A)>>;

/// The keys of a batch's rows, read before it begins.
struct Page<DB: Backend, K> {
    after: Option<At<DB, K>>,
    keys: Vec<Known<At<DB, K>>>,
    /// True to wait for rows that others have locked.
    wait: bool,
}

/// Work of one transaction.
#[derive(Clone)]
struct Part<'p, A> {
    span: Span<A>,
    /// The keys of the page, in their order.
    ///
    /// Others have come there since it was read, as one does whose key is changed by the closure of a batch beside it.
    page: &'p [Known<A>],
    limit: usize,
    wait: bool,
    /// True where each row has a savepoint.
    careful: bool,
}

/// Outcome of one transaction.
struct Done<DB: Backend, K> {
    rows: u64,
    failures: Vec<(K, BoxError)>,
    /// Places of the rows that were seen, in the page.
    seen: Vec<usize>,
    /// The last row, where there may be more rows.
    more_after: Option<At<DB, K>>,
}

impl<DB: Backend, K> Default for Done<DB, K> {
    fn default() -> Self {
        Self { rows: 0, failures: Vec::new(), seen: Vec::new(), more_after: None }
    }
}

/// Reason to give up a transaction.
enum Abort {
    /// A row failed with this error.
    Row(BoxError),
    /// The rows could not be read.
    Read(Error),
    /// The server locks no page of rows at once.
    ///
    /// The next try takes them one by one.
    Refused,
    /// The run was told to stop while waiting for locked rows.
    ///
    /// Others have locked them.
    Stopped,
    /// The transaction could not be begun or committed.
    Transaction(Error),
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Transaction(error)
    }
}

impl Abort {
    /// Returns true if no other try at the rows can help.
    fn ends_run(&self) -> bool {
        match self {
            Self::Read(_) | Self::Stopped => true,
            Self::Refused | Self::Row(_) | Self::Transaction(Error::RolledBack { .. } | Error::Ended { .. }) => false,
            Self::Transaction(error) => {
                error.is_connection_lost() || error.as_sql().is_none_or(|error| error.as_database_error().is_none())
            }
        }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Read(error) | Self::Transaction(error) => error,
            Self::Row(error) => Error::Sql(sqlx::Error::AnyDriverError(error)),
            Self::Refused | Self::Stopped => Error::Ended { reason: EndReason::Cancelled },
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
    pub(super) fn new(
        pool: &'a Pool<DB>,
        settings: Settings<'a, DB>,
        work: &'r dyn Work<DB, M>,
    ) -> Result<Self, Error> {
        let target = Target::new(Table::of::<M>(), M::Key::INDEX, "batches");
        target.check::<DB>()?;
        let Settings { conditions, values, size, concurrency, options, on_progress, stop } = settings;
        let condition = join::<DB>(&conditions, values.len(), target)?;
        let state = State {
            spans: None,
            was_empty: false,
            pace: Pace::new(size, concurrency, condition.is_some()),
            report: BatchReport::default(),
            on_progress,
            over: false,
        };
        let stop = stop.shared();
        let options = match DB::SESSIONS.batch_isolation {
            Some(isolation) if options.isolation.is_none() => options.isolation(isolation),
            _ => options,
        };
        let types = erased::types::<DB, M>();
        let select = DB::select_sorted(target.key, &types);
        let (paging, state) = (OnceLock::new(), Mutex::new(state));
        Ok(Self {
            pool,
            target,
            condition,
            values,
            size,
            concurrency,
            options,
            work,
            stop,
            types,
            positions: (0..target.key.columns.len()).collect(),
            select,
            paging,
            by_rows: AtomicBool::new(false),
            state,
        })
    }

    /// Works until there is nothing left to look at.
    pub(super) async fn finish(self) -> Result<BatchReport<M::Key>, Error> {
        let outcomes = join_all((0..self.concurrency).map(|_| self.work_on())).await;
        let all = Span { after: None, up_to: None };
        let outcome = match outcomes.into_iter().collect::<Result<Vec<()>, Error>>() {
            Ok(_) if self.state.lock().await.was_empty => Ok(0),
            Ok(_) => self.count(&all).await,
            Err(error) => Err(error),
        };
        let report = self.state.into_inner().report;
        match outcome {
            Ok(left) => Ok(BatchReport { left, ..report }),
            Err(error) if report.done == 0 => Err(error),
            Err(error) => Err(self.target.partly(report.done, error)),
        }
    }

    /// Does one batch after the other.
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

    async fn next_page(&self) -> Result<Option<Page<DB, M::Key>>, Error> {
        let state = &mut *self.state.lock().await;
        while !state.over && state.spans.as_ref().is_none_or(|spans| !spans.is_empty()) {
            if self.stop.clone().now_or_never().is_some() {
                state.over = true;
                state.report.stopped = true;
                break;
            }
            let spans = match &mut state.spans {
                Some(spans) => spans,
                unknown => {
                    let last = self.read_last().await?;
                    state.was_empty = last.is_none();
                    unknown.insert(Spans::up_to(last))
                }
            };
            let Some((span, was_left)) = spans.next() else { break };
            let keys = self.read_keys(span).await?;
            let after = span.after.clone();
            let is_last = keys.len() < self.size;
            if let Some((key, _)) = keys.last() {
                span.after = Some(key.clone());
            }
            if is_last {
                spans.next_is_done(was_left);
            }
            if !keys.is_empty() {
                return Ok(Some(Page { after, keys, wait: was_left }));
            }
        }
        Ok(None)
    }

    async fn do_page(&self, page: Page<DB, M::Key>) -> Result<(), Error> {
        let up_to = page.keys.last().map(|(key, _)| key.clone());
        // Rows can be added between the keys meanwhile: so many that memory would not stay flat are left to another transaction.
        let limit = self.size.saturating_mul(2);
        let span = Span { after: page.after.clone(), up_to };
        let mut part = Part { span, page: &page.keys, limit, wait: page.wait, careful: false };
        let mut seen = vec![false; page.keys.len()];
        loop {
            let Some(done) = self.do_part(&part).await? else { return Ok(()) };
            done.seen.iter().for_each(|&number| seen[number] = true);
            self.note(done.rows, done.failures).await?;
            match done.more_after {
                Some(key) => part.span.after = Some(key),
                None => break,
            }
        }
        if !page.wait
            && let Some(spans) = &mut self.state.lock().await.spans
        {
            spans.leave(page.after, page.keys.into_iter().map(|(key, _)| key).zip(seen));
        }
        Ok(())
    }

    async fn note(&self, rows: u64, failures: Vec<(M::Key, BoxError)>) -> Result<(), Error> {
        let state = &mut *self.state.lock().await;
        state.report.done += rows;
        state.report.add_failures(failures);
        (state.on_progress)(BatchProgress { done: state.report.done, failed: state.report.failed });
        self.check_pace(state).await
    }

    /// Gives an error where rows come again ahead of the run.
    ///
    /// The run would not end then.
    async fn check_pace(&self, state: &mut State<'a, DB, M::Key>) -> Result<(), Error> {
        let met = state.report.done + state.report.failed;
        let Some(spans) = state.spans.as_ref().filter(|_| !state.over && state.pace.is_due(met)) else { return Ok(()) };
        let (table, left) = spans.rest();
        let mut ahead = left as u64 * self.size as u64;
        if let Some(table) = table {
            ahead = ahead.saturating_add(self.count(table).await?);
        }
        if state.pace.is_lost(met, ahead) {
            return Err(self.target.unsupported(ROWS_COME_AGAIN.to_owned()));
        }
        Ok(())
    }

    /// Does the rows of a part in one transaction.
    ///
    /// Where that fails, it does them in one with savepoints; where that fails too, in one for each. Gives `None` where others hold the
    /// rows for longer than the database waits, or the run is told to stop meanwhile.
    async fn do_part(&self, part: &Part<'_, At<DB, M::Key>>) -> Result<Option<Done<DB, M::Key>>, Error> {
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

    async fn one_by_one(&self, whole: &Part<'_, At<DB, M::Key>>) -> Result<Done<DB, M::Key>, Error> {
        let mut all = Done::default();
        let mut part = Part { limit: 1, ..whole.clone() };
        for _ in 0..whole.limit {
            let met = SyncMutex::new(None);
            let outcome = self.attempt(&part, &met).await;
            let met = met.into_inner().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(done) => {
                    all.rows += done.rows;
                    all.seen.extend(done.seen);
                    match done.more_after {
                        Some(key) => part.span.after = Some(key),
                        None => return Ok(all),
                    }
                }
                Err(abort) => match met {
                    Some((number, at)) if !abort.ends_run() => {
                        all.seen.extend(number);
                        all.failures.push((at.key.clone(), abort.into_failure()));
                        part.span.after = Some(at);
                    }
                    _ => return Err(abort.into_error()),
                },
            }
        }
        all.more_after = part.span.after;
        Ok(all)
    }

    /// Runs one transaction, and again while others stand in its way.
    ///
    /// `met` tells which row it has come to.
    async fn attempt(
        &self,
        part: &Part<'_, At<DB, M::Key>>,
        met: &Met<At<DB, M::Key>>,
    ) -> Result<Done<DB, M::Key>, Abort> {
        let work = async |tx: &mut Transaction<DB>| self.take(tx, part, met).await;
        match self.options.clone().run(self.pool, work).await {
            Err(Abort::Refused) => self.options.clone().run(self.pool, work).await,
            outcome => outcome,
        }
    }

    async fn take(
        &self,
        tx: &mut Transaction<DB>,
        part: &Part<'_, At<DB, M::Key>>,
        met: &Met<At<DB, M::Key>>,
    ) -> Result<Done<DB, M::Key>, Abort> {
        let rows = if part.wait { self.wait_for_rows(tx, part).await? } else { self.read_rows(tx, part).await? };
        let may_be_more = rows.len() == part.limit;
        let mut done = Done::default();
        let mut last = None;
        for row in rows {
            let is_at = self.at(KeyRow::of_row(&row, self.target.key), &row, &self.target.key.columns);
            let is_at = is_at.map_err(|error| Abort::Read(error.into()))?;
            let identity = self.identity(&is_at).map_err(Abort::Read)?;
            // Both are in the order of the keys.
            let first = done.seen.last().map_or(0, |seen| seen + 1);
            let number = part.page[first..].iter().position(|(_, known)| *known == identity).map(|ahead| first + ahead);
            // A row that was waited for can have another key by now; one that is read row by row, after each, can have been met.
            if number.is_none() && (!part.wait || part.limit == 1) {
                last = Some(is_at);
                continue;
            }
            done.seen.extend(number);
            *met.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, is_at.clone()));
            let outcome = if part.careful { self.do_row_saved(tx, row).await } else { self.do_row(tx, row).await };
            match outcome {
                Ok(()) => done.rows += 1,
                Err(error) if part.careful && !tx.lost() && tx.check().await.is_ok() => {
                    done.failures.push((is_at.key.clone(), error));
                }
                Err(error) => return Err(Abort::Row(error)),
            }
            last = Some(is_at);
        }
        done.more_after = last.filter(|_| may_be_more);
        Ok(done)
    }

    async fn do_row_saved(&self, tx: &mut Transaction<DB>, row: DB::Row) -> Result<(), BoxError> {
        tx.savepoint(async |tx: &mut Transaction<DB>| self.do_row(tx, row).await).await
    }

    async fn do_row(&self, tx: &mut Transaction<DB>, row: DB::Row) -> Result<(), BoxError> {
        let model = erased::read::<DB, M>(&row)?;
        drop(row);
        let outcome = AssertUnwindSafe(self.work.row(tx, model)).catch_unwind().await;
        outcome.unwrap_or_else(|panic| Err(panic_message(panic.as_ref()).into()))
    }

    /// Reads the last row, if there is one.
    ///
    /// What comes behind it is not for this run.
    async fn read_last(&self) -> Result<Option<At<DB, M::Key>>, Error> {
        let all = Span { after: None, up_to: None };
        loop {
            let paging = self.paging.get();
            let rows = self.read(&self.rows(&all).last::<DB>(&self.select, paging), &all).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            if paging.is_none() {
                let (found, again) = DB::learn(row, self.target.table, self.target.key)?;
                self.paging.get_or_init(|| found);
                if again {
                    continue;
                }
            }
            return Ok(Some(self.at_key(row)?));
        }
    }

    /// Reads the keys of the first rows of a span.
    ///
    /// It does so without a transaction, and again where another transaction stood in the way.
    async fn read_keys(&self, span: &Span<At<DB, M::Key>>) -> Result<Vec<Known<At<DB, M::Key>>>, Error> {
        let paging = self.paging.get_or_init(DB::KeyFacts::default);
        let rows = self.read(&self.rows(span).keys::<DB>(&self.select, paging, self.size), span).await?;
        let key = |row: &DB::Row| {
            let at = self.at_key(row)?;
            let identity = self.identity(&at)?;
            Ok((at, identity))
        };
        rows.iter().map(key).collect()
    }

    /// Key and place of a row read by its key alone.
    fn at_key(&self, row: &DB::Row) -> Result<At<DB, M::Key>, sqlx::Error> {
        self.at(KeyRow::of_key(row, self.target.key), row, &self.positions)
    }

    /// Key and place of a row, by the key's positions.
    fn at(&self, key: KeyRow<'_, DB>, row: &DB::Row, positions: &[usize]) -> Result<At<DB, M::Key>, sqlx::Error> {
        let paging = self.paging.get_or_init(DB::KeyFacts::default);
        let place = DB::place(row, self.target.key, positions, &self.types, paging)?;
        Ok(At { key: erased::read_key::<DB, M>(key)?, place })
    }

    async fn count(&self, span: &Span<At<DB, M::Key>>) -> Result<u64, Error> {
        let rows = self.read(&self.rows(span).count::<DB>(self.paging.get()), span).await?;
        let count = rows.first().map_or(Ok(0), |row| DB::number(row, 0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn read(&self, sql: &Sql, span: &Span<At<DB, M::Key>>) -> Result<Vec<DB::Row>, Error> {
        let mut session = Session::pool(self.pool);
        let mut retry = Retry::new(DB::ATTEMPTS);
        loop {
            let outcome = match session.link().await {
                Ok(mut link) => link.fetch(self.statement(sql, span)?).await.map_err(Error::from),
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if session.may_repeat(&error) && retry.again(error.as_sql()).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Reads a batch's rows, which others may hold for long.
    ///
    /// The run can be told to stop meanwhile.
    async fn wait_for_rows(
        &self,
        tx: &mut Transaction<DB>,
        part: &Part<'_, At<DB, M::Key>>,
    ) -> Result<Vec<DB::Row>, Abort> {
        match select(pin!(self.read_rows(tx, part)), self.stop.clone()).await {
            Either::Left((rows, _)) => return rows,
            Either::Right(_) => {}
        }
        // The server still waits, so nothing else can run on this connection.
        tx.set_unfinished(true);
        Err(Abort::Stopped)
    }

    /// Takes the rows of a batch in its transaction.
    async fn read_rows(
        &self,
        tx: &mut Transaction<DB>,
        part: &Part<'_, At<DB, M::Key>>,
    ) -> Result<Vec<DB::Row>, Abort> {
        tx.check().await?;
        let mut link = Link::Inside(&mut *tx);
        loop {
            let sql = self.rows(&part.span).take::<DB>(
                &self.select,
                self.paging.get_or_init(DB::KeyFacts::default),
                part.limit,
                part.wait,
            );
            let statement = self.statement(&sql, &part.span).map_err(|error| Abort::Read(error.into()))?;
            if self.by_rows.load(Ordering::Relaxed) {
                return self.read_row_by_row(&mut link, part).await.map_err(Abort::Read);
            }
            match link.fetch(statement).await {
                Err(error) if DB::cannot_skip(&error) => {}
                Err(error) if Meaning::of(&error).cannot_lock_page => {
                    self.by_rows.store(true, Ordering::Relaxed);
                    return Err(Abort::Refused);
                }
                outcome => return outcome.map_err(|error| Abort::Read(error.into())),
            }
        }
    }

    /// Takes the rows of a batch one by one.
    ///
    /// The server locks no page of them at once, so each is taken by its whole key.
    async fn read_row_by_row(
        &self,
        link: &mut Link<'_, DB>,
        part: &Part<'_, At<DB, M::Key>>,
    ) -> Result<Vec<DB::Row>, Error> {
        let paging = self.paging.get_or_init(DB::KeyFacts::default);
        let keys = self.rows(&part.span).keys::<DB>(&self.select, paging, part.limit);
        let all = self.rows(&Span { after: None, up_to: None });
        let take = all.take_one::<DB>(&self.select, paging, part.wait);
        let mut rows = Vec::new();
        for row in link.fetch(self.statement(&keys, &part.span)?).await? {
            let at = self.at_key(&row)?;
            let mut encoder = DB::Encoder::default();
            for bind in &self.values {
                bind(&mut encoder).map_err(sqlx::Error::Encode)?;
            }
            self.write(&at, &mut encoder)?;
            rows.extend(link.fetch(Statement::cached(&take, DB::arguments(encoder))).await?);
        }
        Ok(rows)
    }

    fn rows(&self, span: &Span<At<DB, M::Key>>) -> Rows<'_> {
        Rows {
            table: self.target.table,
            key: self.target.key,
            condition: self.condition.as_deref(),
            values: self.values.len(),
            after: span.after.is_some(),
            up_to: span.up_to.is_some(),
        }
    }

    fn statement(&self, sql: &Sql, span: &Span<At<DB, M::Key>>) -> Result<Statement<DB>, sqlx::Error> {
        let mut encoder = DB::Encoder::default();
        for bind in &self.values {
            bind(&mut encoder).map_err(sqlx::Error::Encode)?;
        }
        for at in [&span.after, &span.up_to].into_iter().flatten() {
            self.write(at, &mut encoder)?;
            DB::repeat_bound(&mut encoder, self.target.key);
        }
        Ok(Statement::cached(sql, DB::arguments(encoder)))
    }

    /// The bytes by which a row is recognized.
    fn identity(&self, at: &At<DB, M::Key>) -> Result<Vec<u8>, Error> {
        Ok(DB::identity(at.place.as_ref(), |encoder| self.write(at, encoder))?)
    }

    fn write(&self, at: &At<DB, M::Key>, encoder: &mut DB::Encoder) -> Result<(), sqlx::Error> {
        match &at.place {
            Some(place) => DB::put_place(encoder, place),
            None => erased::put_key::<DB, M, M::Key>(&at.key, self.target.table, self.target.key, encoder)?,
        }
        Ok(())
    }
}
