//! The connection as an sqlx `Executor`: plain sqlx passes through here.

use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryFutureExt as _};
use sqlx::{Describe, Either, Execute, Executor, SqlStr, error::BoxDynError};

use crate::{driver::Driver, error::Error, outcome::SqlFuture, trace::statement_log, transaction::conn::Conn};

/// A statement of the caller, taken apart.
///
/// Its text can be read before it runs.
struct Taken<DB: Driver> {
    sql: SqlStr,
    statement: Option<DB::Statement>,
    arguments: Result<Option<DB::Arguments>, BoxDynError>,
    persistent: bool,
}

impl<DB: Driver> Taken<DB> {
    fn new<'q>(mut query: impl Execute<'q, DB>) -> Self {
        Self {
            statement: query.statement().cloned(),
            arguments: query.take_arguments(),
            persistent: query.persistent(),
            sql: query.sql(),
        }
    }
}

impl<DB: Driver> Execute<'_, DB> for Taken<DB> {
    fn sql(self) -> SqlStr {
        statement_log::record(self.sql.as_str());
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Turns a refusal into an `sqlx::Error`.
///
/// Plain sqlx is told so that the transaction is over, as its calls give that error.
fn refused(error: Error) -> sqlx::Error {
    match error {
        Error::Sql(error) => error,
        other => sqlx::Error::AnyDriverError(Box::new(other)),
    }
}

impl<'c, DB: Driver> Executor<'c> for &'c mut Conn<DB> {
    type Database = DB;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: Execute<'q, DB> + 'q,
    {
        let stream = async move {
            let query = Taken::new(query);
            let (inner, underway) = self.underway(query.sql.as_str()).await.map_err(refused)?;
            let rows = DB::fetch_many(inner, query);
            Ok(futures_util::stream::unfold((rows, underway), async |(mut rows, mut underway)| {
                let step = rows.next().await;
                underway.step::<DB>(step.as_ref());
                step.map(|step| (step, (rows, underway)))
            }))
        };
        Box::pin(stream.try_flatten_stream())
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> SqlFuture<'e, Option<DB::Row>>
    where
        'c: 'e,
        'q: 'e,
        E: Execute<'q, DB> + 'q,
    {
        Box::pin(async move {
            let query = Taken::new(query);
            let (inner, mut underway) = self.underway(query.sql.as_str()).await.map_err(refused)?;
            let outcome = DB::fetch_optional(inner, query).await;
            underway.state.unfinished = false;
            match &outcome {
                Ok(_) => underway.all_answered(),
                Err(error) => underway.failed(error),
            }
            outcome
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [DB::TypeInfo]) -> SqlFuture<'e, DB::Statement>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            self.state.unfinished = DB::SESSIONS.broken_when_given_up;
            let outcome = DB::prepare_with(&mut self.inner, sql, parameters).await;
            self.state.unfinished = false;
            self.track_result(outcome)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> SqlFuture<'e, Describe<DB>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            self.state.unfinished = DB::SESSIONS.broken_when_given_up;
            let outcome = DB::describe(&mut self.inner, sql).await;
            self.state.unfinished = false;
            self.track_result(outcome)
        })
    }
}
