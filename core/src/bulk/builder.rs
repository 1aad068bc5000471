//! The bulk calls, with options.

use std::{marker::PhantomData, pin::pin};

use futures_core::Stream;

use super::{BulkCreated, BulkUpserted, Goal, Job, Merged, Plan, Progress, Streamed};
use crate::{
    Error, Outcome,
    backend::Backend,
    handle::{Call, Handle, Session},
    model::{On, Row, Target, Types, UniqueKey as _},
};

/// A bulk call in the making: see [`Upsertable::bulk`](crate::Upsertable::bulk).
#[must_use = "nothing is done before one of the calls is made and awaited"]
pub struct Bulk<'a, M, S> {
    rows: S,
    commit_every: Option<u64>,
    on_progress: Box<dyn FnMut(Progress) + Send + 'a>,
    model: PhantomData<fn() -> M>,
}

impl<M, S> std::fmt::Debug for Bulk<'_, M, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bulk").finish_non_exhaustive()
    }
}

impl<'a, M, S> Bulk<'a, M, S> {
    pub(crate) fn new(rows: S) -> Self {
        Self { rows, commit_every: None, on_progress: Box::new(|_| ()), model: PhantomData }
    }

    /// Calls `listener` each time rows have been sent to the database, with the number of rows sent so far.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool, tags: Vec<NewTag>) -> Result<(), upsertable::Error> {
    /// let done = Tag::bulk(tags).on_progress(|p| println!("{} rows read", p.received)).create_new(&pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_progress(mut self, listener: impl FnMut(Progress) + Send + 'a) -> Self {
        self.on_progress = Box::new(listener);
        self
    }

    /// Commits after each so many rows, which are kept or not by themselves: for loads of hours, which should not be lost as a whole when the
    /// connection is. 0 counts as 1.
    ///
    /// The next call with the same rows goes on, as rows that are there already are found. Counts are sums over the parts, so a row that
    /// one part creates and a later one updates is counted in both.
    ///
    /// It needs a pool: on a connection or in a transaction the call fails with [`Error::Unsupported`] and nothing is written.
    ///
    /// # Statements
    ///
    /// Those of the call, for each part.
    ///
    /// # Errors
    ///
    /// [`Error::Partly`] where parts have been committed before: it says of how many rows, and holds the error of the part that failed. An error
    /// that the caller's own stream gives is given on as it is; [`Progress::committed`] tells then how many rows are kept.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the parts that were committed are kept, and nothing of the part in hand.
    ///
    /// # Example
    ///
    /// ```
    /// # use upsertable::Upsertable;
    /// # #[derive(Debug, sqlx::FromRow, Upsertable)]
    /// # #[unique(name)]
    /// # struct Tag { #[upsertable(generated)] id: i64, name: String }
    /// # async fn example(pool: sqlx::SqlitePool, tags: Vec<NewTag>) -> Result<(), upsertable::Error> {
    /// match Tag::bulk(tags).commit_every(10_000).create_new(&pool).await {
    ///     Err(upsertable::Error::Partly { committed, source, .. }) => eprintln!("{committed} rows are in, then: {source}"),
    ///     done => println!("{}", done?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit_every(mut self, rows: u64) -> Self {
        self.commit_every = Some(rows.max(1));
        self
    }
}

impl<'a, M, S> Bulk<'a, M, S> {
    /// As [`Upsertable::bulk_create_new`](crate::Upsertable::bulk_create_new).
    pub fn create_new<DB, H, E>(self, db: H) -> Call<'a, BulkCreated, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        Box::pin(async move {
            let mut session = db.session();
            let goal = if session.wants_created::<M>() { Goal::CreateAndRead } else { Goal::Create };
            let merged = self.run(&mut session, goal, "bulk_create_new").await?;
            session.created::<M>(&merged.rows)?;
            Ok(BulkCreated { received: merged.received, created: merged.created })
        })
    }

    /// As [`Upsertable::bulk_get_or_create`](crate::Upsertable::bulk_get_or_create).
    pub fn get_or_create<DB, H, E>(self, db: H) -> Call<'a, Vec<Outcome<M>>, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        Box::pin(async move {
            let mut session = db.session();
            let merged = self.run(&mut session, Goal::GetOrCreate, "bulk_get_or_create").await?;
            let mut outcomes = Vec::with_capacity(merged.rows.len());
            for row in &merged.rows {
                let created = DB::mark(row).map_err(Error::from)?.created;
                outcomes.push(Outcome { row: M::read(row).map_err(Error::from)?, created });
                if created {
                    session.created::<M>(std::slice::from_ref(row))?;
                }
            }
            Ok(outcomes)
        })
    }

    /// As [`Upsertable::bulk_upsert`](crate::Upsertable::bulk_upsert).
    pub fn upsert<DB, H, E>(self, db: H) -> Call<'a, BulkUpserted, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        Box::pin(async move {
            let mut session = db.session();
            let goal = if session.wants_created::<M>() { Goal::UpsertAndRead } else { Goal::Upsert };
            let merged = self.run(&mut session, goal, "bulk_upsert").await?;
            session.created::<M>(&merged.rows)?;
            Ok(BulkUpserted { received: merged.received, created: merged.created, updated: merged.updated })
        })
    }

    async fn run<DB, E>(
        mut self,
        session: &mut Session<'_, DB>,
        goal: Goal,
        operation: &'static str,
    ) -> Result<Merged<DB>, E>
    where
        DB: Backend,
        M: On<DB>,
        S: Stream + Send,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send,
    {
        let mut types = Types(Vec::new());
        M::types(&mut types);
        let rows = pin!(self.rows);
        let mut rows = Streamed::<M, S, E>::new(rows);
        let target = Target::new(M::table(), M::Key::INDEX, operation);
        let watch = target.watch();
        let job = Job {
            plan: Plan { target, goal },
            types: types.0,
            source: &mut rows,
            on_progress: &mut *self.on_progress,
            watch: &watch,
        };
        let work = async {
            match self.commit_every {
                Some(every) => job.run_in_parts(session, every).await,
                None => job.run(session).await,
            }
        };
        let merged = watch.run(work).await;
        if let Ok(merged) = &merged {
            watch.rows(merged.received);
            watch.created(merged.created);
            if matches!(goal, Goal::Upsert | Goal::UpsertAndRead) {
                watch.updated(merged.updated);
            }
        }
        merged.map_err(|failure| rows.error(failure))
    }
}
