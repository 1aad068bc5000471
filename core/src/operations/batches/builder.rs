//! The batches of a run, with options.

use std::{fmt, future::Future, marker::PhantomData};

use futures_util::FutureExt as _;
use sqlx::{Pool, SqlSafeStr};

use crate::{
    backend::Backend,
    error::BoxError,
    model::On,
    model::column::Holds,
    operations::batches::report::{BatchProgress, BatchReport},
    operations::batches::run::Run,
    operations::batches::settings::Settings,
    operations::batches::work::{CallEach, ErasedWork},
    outcome::CallFuture,
    sql::table::Table,
    trace::span::CallSpan,
    transaction::Transaction,
    transaction::options::TransactionOptions,
};

/// Work for each row of a table, in batches: see [`Upsertable::batches`](crate::Upsertable::batches).
#[must_use = "nothing is done before `run` is called and awaited"]
pub struct Batches<'a, DB: Backend, M> {
    pool: &'a Pool<DB>,
    settings: Settings<'a, DB>,
    model: PhantomData<fn() -> M>,
}

impl<DB: Backend, M> fmt::Debug for Batches<'_, DB, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("conditions", &self.settings.conditions)
            .field("size", &self.settings.size)
            .field("concurrency", &self.settings.concurrency)
            .finish_non_exhaustive()
    }
}

impl<'a, DB: Backend, M> Batches<'a, DB, M> {
    pub(crate) fn new(pool: &'a Pool<DB>) -> Self {
        Self { pool, settings: Settings::default(), model: PhantomData }
    }

    /// Takes only the rows for which this condition holds.
    ///
    /// It says what is still to do, so that a second run goes on where the first has ended.
    ///
    /// It is the caller's own SQL, so it is a `&'static str` or sqlx's `AssertSqlSafe`. Each `?` in it is a [value](Self::bind), on every
    /// database; inside quotes and comments it is not. Where PostgreSQL has an operator `?`, write `??`. Several filters are joined by AND.
    ///
    /// A closure that changes keys needs a filter that does not hold for a row that is done: see [`run`](Self::run).
    ///
    /// # Example
    ///
    /// See [`Upsertable::batches`](crate::Upsertable::batches).
    pub fn filter(mut self, condition: impl SqlSafeStr) -> Self {
        self.settings.conditions.push(condition.into_sql_str().as_str().to_owned());
        self
    }

    /// Binds the value of the filter's next `?`.
    ///
    /// # Example
    ///
    /// See [`Upsertable::batches`](crate::Upsertable::batches).
    pub fn bind<T: Send + Sync + 'a>(mut self, value: T) -> Self
    where
        DB: Holds<T>,
    {
        self.settings.values.push(Box::new(move |encoder| DB::write(encoder, &value, false)));
        self
    }

    /// Sets the number of rows in a batch.
    ///
    /// It is 500 unless said otherwise; 0 counts as 1.
    ///
    /// A batch is one transaction, so what is lost when it fails, and for how long its rows are locked, hangs on this.
    pub fn size(mut self, rows: usize) -> Self {
        self.settings.size = rows.max(1);
        self
    }

    /// Sets the number of batches that run at a time.
    ///
    /// It is 1 unless said otherwise. Each has a connection of its own and rows that no other has.
    ///
    /// They are polled by one task, so this helps work that waits, for the database or for others, and not work that computes. SQLite has
    /// one writer at a time.
    pub fn concurrency(mut self, batches: usize) -> Self {
        self.settings.concurrency = batches.max(1);
        self
    }

    /// Sets the options of each batch's transaction.
    ///
    /// They say how it is begun and how often it is tried, and with which [`Hooks`](crate::Hooks).
    ///
    /// On MySQL and MariaDB it is begun at READ COMMITTED unless an isolation is said here.
    pub fn options(mut self, options: TransactionOptions) -> Self {
        self.settings.options = options;
        self
    }

    /// Calls `listener` each time a batch has been committed.
    pub fn on_progress(mut self, listener: impl FnMut(BatchProgress) + Send + 'a) -> Self {
        self.settings.on_progress = Box::new(listener);
        self
    }

    /// Stops when `signal` is done.
    ///
    /// The batches in hand are finished first, and rows that others have locked are not waited for. The signal can be one of the operating
    /// system, say, or the other end of a channel.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Song { #[upsertable(generated)] id: i64, name: String, chords: Option<String> }
    /// # async fn derive(tx: &mut upsertable::Transaction<sqlx::Sqlite>, song: Song) -> Result<(), upsertable::Error> { Ok(()) }
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    /// let an_hour = tokio::time::sleep(std::time::Duration::from_secs(3600));
    /// let report = Song::batches(&pool)
    ///     .filter("chords IS NULL")
    ///     .stop_on(an_hour)
    ///     .run(async |tx, song: Song| derive(tx, song).await)
    ///     .await?;
    /// if report.stopped {
    ///     println!("{} songs are left for tomorrow", report.left);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop_on<F: Future + Send + 'a>(mut self, signal: F) -> Self {
        self.settings.stop = Box::pin(signal.map(drop));
        self
    }

    /// Does `work` for each row, and reports.
    ///
    /// Each batch is a transaction of its own, in which its rows are read anew; they are locked until its end, and rows that others have
    /// locked are left to them: so several processes share the work. When all other rows are seen, the run comes back to those, waits for
    /// whoever has them, and does what is then still to do, so that none is left when the other has died.
    ///
    /// A row that fails does not stop the others: its batch is rolled back and done again with a savepoint for each row, so that what was
    /// done for this row alone is undone; and where even that batch cannot be committed, once more with a transaction for each row. A row
    /// that cannot be read as the model fails, and so does one for which the closure panics. So the closure can run several times for a
    /// row, and what it does besides the database belongs into a [callback](Transaction::on_commit): callbacks and hooks run once, after
    /// the commit of the batch.
    ///
    /// A row that the filter still holds for afterwards is not done again in the same run.
    ///
    /// The table is paged by the model's first key, up to the last row for which the filter held when the run began. A row that is added
    /// meanwhile, or for which the filter begins to hold, is done when its key is between the batches in hand and that last row, and otherwise
    /// left for the next run.
    ///
    /// # Keys that change
    ///
    /// The closure may give its row another key. The row is still done once where the new key is beyond that of the last row, or before those
    /// of the batches in hand, or where the filter does not hold for the row any more. Elsewhere the row is met again under its new key, as
    /// nothing tells it from a row that was always there. So a closure that changes the key needs one of these:
    ///
    /// * a filter of what is still to do, which does not hold for a row that is done;
    /// * a model of the same table whose first key is one that stays, an id for instance.
    ///
    /// A run over rows that come again and again ends with an error, when it has met a few times as many as there were. A row that is moved
    /// back before it is done is left for the next run, and counted in [`left`](BatchReport::left).
    ///
    /// # Locks
    ///
    /// * PostgreSQL: `FOR NO KEY UPDATE SKIP LOCKED`. Others can insert rows that refer to a batch's rows by a foreign key.
    /// * MySQL and MariaDB: `FOR UPDATE SKIP LOCKED`. Whoever inserts a row that refers to one of a batch's rows waits until the batch ends, as
    ///   InnoDB has no lock that keeps out another batch and lets them through. The smaller the [size](Self::size), the shorter they wait.
    /// * SQLite: the whole database is locked for writing until the batch ends.
    ///
    /// What the closure writes belongs into its transaction for this reason too: on another connection it would wait for its own batch, until
    /// the server or SQLite gives up. That is after 50 seconds on MySQL and MariaDB (`innodb_lock_wait_timeout`). On PostgreSQL a row that
    /// refers to the batch's rows can be inserted on another connection, unless the closure has deleted the row or changed a key of it.
    ///
    /// # Statements
    ///
    /// First a SELECT of the last key; where there is no row, that is all. For each batch a SELECT of its keys, `BEGIN`, a SELECT of its rows,
    /// and `COMMIT` (on MySQL one more that sets the isolation level), whatever the closure runs, and nothing besides. At the end a SELECT that
    /// finds no more keys, where the last batch was a full one, and one that counts what is left. After a failure `ROLLBACK` and all again,
    /// with SAVEPOINT and RELEASE around each row.
    ///
    /// After some 20 full batches, with a filter some 260, a SELECT counts once how many rows are yet to come, and again where more than twice
    /// as many have been met since.
    ///
    /// The keys are found by comparing them, never by OFFSET, so each page costs what the first does where an index has the key's columns
    /// in the order of the model's fields.
    ///
    /// # Errors
    ///
    /// * [`Error::Partly`](crate::Error::Partly): the connection was lost, or the database refused to go on, after rows had been committed.
    /// * [`Error::Unsupported`](crate::Error::Unsupported): the filter has not as many `?` as there are values. Inside `Partly`: rows came to lie
    ///   ahead of the run as fast as it did them, as where the closure [changes keys](#keys-that-change).
    /// * [`Error::Sql`](crate::Error::Sql): the same before any row was committed, as by a filter that is not SQL.
    ///
    /// The failure of a row is not an error: see [`BatchReport::failures`].
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the batches in hand are rolled back, unless their COMMIT is on its way. What was committed before is kept, and
    /// another run goes on from there.
    ///
    /// # Example
    ///
    /// See [`Upsertable::batches`](crate::Upsertable::batches).
    pub fn run<F, E>(self, work: F) -> CallFuture<'a, BatchReport<M::Key>>
    where
        M: On<DB>,
        E: Into<BoxError> + Send + 'a,
        for<'t> F: AsyncFn(&'t mut Transaction<DB>, M) -> Result<(), E>
            + CallEach<&'t mut Transaction<DB>, M, Result<(), E>, Fut: Send>
            + Send
            + Sync
            + 'a,
    {
        Box::pin(async move {
            let work = ErasedWork::new(work);
            let watch = CallSpan::begin("batches", Table::of::<M>().name);
            let running = async { Run::new(self.pool, self.settings, &work)?.finish().await };
            let outcome = watch.run(running).await;
            if let Ok(report) = &outcome {
                watch.rows(report.done);
                watch.failed(report.failed);
            }
            outcome
        })
    }
}
