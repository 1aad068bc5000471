//! The connection as an sqlx `Executor`: plain sqlx passes through here.

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{StreamExt as _, TryFutureExt as _};
use sqlx::{Describe, Either, Execute, Executor, SqlStr};

use super::Conn;
use crate::{Error, backend::Backend, testing};

/// Notes the statement for [`testing::statements`] when the driver asks for its text.
struct Noted<E>(E);

impl<'q, DB: Backend, E: Execute<'q, DB>> Execute<'q, DB> for Noted<E> {
    fn sql(self) -> SqlStr {
        let sql = self.0.sql();
        testing::record(sql.as_str());
        sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, sqlx::error::BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.0.persistent()
    }
}

/// What plain sqlx is told when the transaction is over: its calls give `sqlx::Error`.
fn refused(error: Error) -> sqlx::Error {
    match error {
        Error::Sql(error) => error,
        other => sqlx::Error::AnyDriverError(Box::new(other)),
    }
}

impl<'c, DB: Backend> Executor<'c> for &'c mut Conn<DB> {
    type Database = DB;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: Execute<'q, DB> + 'q,
    {
        let stream = async move {
            self.check().await.map_err(refused)?;
            let Conn { inner, state, .. } = self;
            state.unfinished = DB::BROKEN_WHEN_GIVEN_UP;
            let rows = DB::fetch_many(&mut **inner, Noted(query));
            Ok(rows.inspect(move |step| {
                // What follows the first answer may be left unread.
                state.unfinished = false;
                match step {
                    Ok(_) => state.observe_success(),
                    Err(error) => state.observe::<DB>(error),
                }
            }))
        };
        Box::pin(stream.try_flatten_stream())
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: Execute<'q, DB> + 'q,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            self.state.unfinished = DB::BROKEN_WHEN_GIVEN_UP;
            let outcome = DB::fetch_optional(&mut self.inner, Noted(query)).await;
            self.state.unfinished = false;
            self.observed(outcome)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            self.state.unfinished = DB::BROKEN_WHEN_GIVEN_UP;
            let outcome = DB::prepare_with(&mut self.inner, sql, parameters).await;
            self.state.unfinished = false;
            self.observed(outcome)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            self.state.unfinished = DB::BROKEN_WHEN_GIVEN_UP;
            let outcome = DB::describe(&mut self.inner, sql).await;
            self.state.unfinished = false;
            self.observed(outcome)
        })
    }
}
