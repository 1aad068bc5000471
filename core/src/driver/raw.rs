//! The calls to plain sqlx, by the database.
//!
//! Asked through the database and not by a bound `for<'c> &'c mut DB::Connection: Executor<'c>`: an `Executor` of ours with that bound
//! would make the compiler look for it without end wherever a function that is generic over the database has the same bound, also in a
//! program that only depends on this crate.

use futures_core::stream::BoxStream;
use sqlx::{Database, Decode, Describe, Either, Execute, Row as _, SqlStr, Type};

use crate::outcome::SqlFuture;

/// A statement's rows and results.
pub(crate) type Fetched<'e, DB> =
    BoxStream<'e, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>>;

pub trait Raw: Database {
    fn fetch_many<'e, 'q, E>(conn: &'e mut Self::Connection, query: E) -> Fetched<'e, Self>
    where
        'q: 'e,
        E: Execute<'q, Self> + 'q;

    fn fetch_optional<'e, 'q, E>(conn: &'e mut Self::Connection, query: E) -> SqlFuture<'e, Option<Self::Row>>
    where
        'q: 'e,
        E: Execute<'q, Self> + 'q;

    fn prepare_with<'e>(
        conn: &'e mut Self::Connection,
        sql: SqlStr,
        parameters: &'e [Self::TypeInfo],
    ) -> SqlFuture<'e, Self::Statement>;

    fn describe(conn: &mut Self::Connection, sql: SqlStr) -> SqlFuture<'_, Describe<Self>>;

    /// Returns the number of rows that a statement changed.
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// Reads one value of a row.
    fn value<T>(row: &Self::Row, index: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Self> + Type<Self>;

    /// Reads a number.
    fn number(row: &Self::Row, index: usize) -> Result<i64, sqlx::Error>;

    /// Reads a text.
    fn text(row: &Self::Row, index: usize) -> Result<String, sqlx::Error>;

    /// Reads a truth value.
    fn flag(row: &Self::Row, index: usize) -> Result<bool, sqlx::Error>;
}

macro_rules! raw {
    ($($feature:literal: $database:ty),+ $(,)?) => {$(
        #[cfg(feature = $feature)]
        impl Raw for $database {
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
            ) -> SqlFuture<'e, Option<Self::Row>>
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
            ) -> SqlFuture<'e, Self::Statement> {
                sqlx::Executor::prepare_with(conn, sql, parameters)
            }

            fn describe(
                conn: &mut Self::Connection,
                sql: SqlStr,
            ) -> SqlFuture<'_, Describe<Self>> {
                sqlx::Executor::describe(conn, sql)
            }

            fn rows_affected(result: &Self::QueryResult) -> u64 {
                result.rows_affected()
            }

            fn value<T>(row: &Self::Row, index: usize) -> Result<T, sqlx::Error>
            where
                T: for<'r> Decode<'r, Self> + Type<Self>,
            {
                row.try_get(index)
            }

            fn number(row: &Self::Row, index: usize) -> Result<i64, sqlx::Error> {
                row.try_get(index)
            }

            fn text(row: &Self::Row, index: usize) -> Result<String, sqlx::Error> {
                row.try_get(index)
            }

            fn flag(row: &Self::Row, index: usize) -> Result<bool, sqlx::Error> {
                row.try_get(index)
            }
        }
    )+};
}

raw!("sqlite": sqlx::Sqlite, "postgres": sqlx::Postgres, "mysql": sqlx::MySql);
