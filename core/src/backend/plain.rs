//! The calls to plain sqlx, by the database.
//!
//! Asked through the database and not by a bound `for<'c> &'c mut DB::Connection: Executor<'c>`: an `Executor` of ours with that bound
//! would make the compiler look for it without end wherever a function that is generic over the database has the same bound, also in a
//! program that only depends on this crate.

use futures_core::{future::BoxFuture, stream::BoxStream};
use sqlx::{Database, Describe, Either, Execute, SqlStr};

/// A statement's rows and results.
type Fetched<'e, DB> = BoxStream<'e, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>>;

pub trait Plain: Database {
    fn fetch_many<'e, 'q, E>(conn: &'e mut Self::Connection, query: E) -> Fetched<'e, Self>
    where
        'q: 'e,
        E: Execute<'q, Self> + 'q;

    fn fetch_optional<'e, 'q, E>(
        conn: &'e mut Self::Connection,
        query: E,
    ) -> BoxFuture<'e, Result<Option<Self::Row>, sqlx::Error>>
    where
        'q: 'e,
        E: Execute<'q, Self> + 'q;

    fn prepare_with<'e>(
        conn: &'e mut Self::Connection,
        sql: SqlStr,
        parameters: &'e [Self::TypeInfo],
    ) -> BoxFuture<'e, Result<Self::Statement, sqlx::Error>>;

    fn describe(conn: &mut Self::Connection, sql: SqlStr) -> BoxFuture<'_, Result<Describe<Self>, sqlx::Error>>;
}

macro_rules! plain {
    ($($feature:literal: $database:ty),+ $(,)?) => {$(
        #[cfg(feature = $feature)]
        impl Plain for $database {
            fn fetch_many<'e, 'q, E>(conn: &'e mut Self::Connection, query: E) -> Fetched<'e, Self>
            where
                'q: 'e,
                E: Execute<'q, Self> + 'q,
            {
                sqlx::Executor::fetch_many(conn, query)
            }

            fn fetch_optional<'e, 'q, E>(
                conn: &'e mut Self::Connection,
                query: E,
            ) -> BoxFuture<'e, Result<Option<Self::Row>, sqlx::Error>>
            where
                'q: 'e,
                E: Execute<'q, Self> + 'q,
            {
                sqlx::Executor::fetch_optional(conn, query)
            }

            fn prepare_with<'e>(
                conn: &'e mut Self::Connection,
                sql: SqlStr,
                parameters: &'e [Self::TypeInfo],
            ) -> BoxFuture<'e, Result<Self::Statement, sqlx::Error>> {
                sqlx::Executor::prepare_with(conn, sql, parameters)
            }

            fn describe(
                conn: &mut Self::Connection,
                sql: SqlStr,
            ) -> BoxFuture<'_, Result<Describe<Self>, sqlx::Error>> {
                sqlx::Executor::describe(conn, sql)
            }
        }
    )+};
}

plain!("sqlite": sqlx::Sqlite, "postgres": sqlx::Postgres, "mysql": sqlx::MySql);
