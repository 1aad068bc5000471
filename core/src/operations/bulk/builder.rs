//! The bulk calls, with options.

use std::marker::PhantomData;

use futures_core::Stream;

use crate::{
    backend::Backend,
    backend::staging::Mark,
    connection::handle::Handle,
    error::Error,
    feed::progress::Progress,
    model::On,
    model::erased::{self, ModelVTable},
    model::new_row::Row,
    operations::bulk::call::{BulkCall, Options},
    operations::bulk::report::{BulkCreated, BulkUpserted},
    operations::bulk::stream::Streamed,
    outcome::{CallFuture, Outcome},
};

/// Builder of a bulk call: see [`Upsertable::bulk`](crate::Upsertable::bulk).
#[must_use = "nothing is done before one of the calls is made and awaited"]
pub struct Bulk<'a, M, S> {
    rows: S,
    options: Options<'a>,
    model: PhantomData<fn() -> M>,
}

impl<M, S> std::fmt::Debug for Bulk<'_, M, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bulk").finish_non_exhaustive()
    }
}

impl<'a, M, S> Bulk<'a, M, S> {
    pub(crate) fn new(rows: S) -> Self {
        Self { rows, options: Options::default(), model: PhantomData }
    }

    /// Calls `listener` each time rows have been sent.
    ///
    /// It is given the number of rows sent to the database so far.
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
        self.options.on_progress = Some(Box::new(listener));
        self
    }

    /// Commits after every `rows` rows.
    ///
    /// Each part is kept or not by itself: for loads of hours, which should not be lost as a whole when the connection is. 0 counts as 1.
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
        self.options.commit_every = Some(rows.max(1));
        self
    }
}

impl<'a, M, S> Bulk<'a, M, S> {
    /// Creates the rows whose key is not in the table yet.
    ///
    /// It is [`Upsertable::bulk_create_new`](crate::Upsertable::bulk_create_new) with these options.
    pub fn create_new<DB, H, E>(self, db: H) -> CallFuture<'a, BulkCreated, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        self.call(db).create_new()
    }

    /// Finds or creates a row for each that is given, in order.
    ///
    /// It is [`Upsertable::bulk_get_or_create`](crate::Upsertable::bulk_get_or_create) with these options.
    pub fn get_or_create<DB, H, E>(self, db: H) -> CallFuture<'a, Vec<Outcome<M>>, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        let call = self.call(db);
        Box::pin(async move {
            let rows = call.get_or_create().await?;
            let mut outcomes = Vec::with_capacity(rows.len());
            for row in &rows {
                let created = Mark::read::<DB>(row).map_err(Error::from)?.created;
                outcomes.push(Outcome { row: erased::read::<DB, M>(row).map_err(Error::from)?, created });
            }
            Ok(outcomes)
        })
    }

    /// Creates the rows whose key is missing, and updates the others.
    ///
    /// It is [`Upsertable::bulk_upsert`](crate::Upsertable::bulk_upsert) with these options.
    pub fn upsert<DB, H, E>(self, db: H) -> CallFuture<'a, BulkUpserted, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        self.call(db).upsert()
    }

    /// Erases the types of the model and of its rows.
    fn call<DB, H, E>(self, db: H) -> BulkCall<'a, DB, E>
    where
        DB: Backend,
        H: Handle<'a, DB>,
        M: On<DB>,
        S: Stream + Send + 'a,
        S::Item: Row<M::New, Error = E> + Send,
        E: From<Error> + Send + 'a,
    {
        BulkCall {
            session: db.session(),
            model: ModelVTable::new::<M>(),
            rows: Box::new(Streamed::<M, S, E>::new(self.rows)),
            options: self.options,
        }
    }
}
