//! The rows of a bulk call, with the model erased.
//!
//! All that follows is compiled once a database, not once a model.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{
    Error,
    backend::Backend,
    model::values::Values,
    model::{On, Row, RowOperation},
};

/// Rows to come, written as they are asked for.
pub(crate) trait Source<DB: Backend>: Send {
    /// Writes the next row, or says `false` for an error.
    fn poll_row(&mut self, context: &mut Context<'_>, values: &mut Values<'_, DB>) -> Poll<Option<bool>>;
}

/// Failure of a bulk call.
pub enum Failure {
    /// The stream gave an error, which is kept with the stream.
    Item,
    Call(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Call(error.into())
    }
}

/// A source that can give an error of its own.
pub(crate) trait Rows<DB: Backend, E>: Source<DB> {
    /// The error that it gave.
    fn error(&mut self) -> Option<E>;
}

/// The rows of a stream, and the error that it gave.
pub(crate) struct Streamed<M, S, E> {
    rows: Pin<Box<S>>,
    error: Option<E>,
    model: PhantomData<fn() -> M>,
}

impl<M, S, E> Streamed<M, S, E> {
    pub(crate) fn new(rows: S) -> Self {
        Self { rows: Box::pin(rows), error: None, model: PhantomData }
    }
}

impl<DB, M, S, E> Source<DB> for Streamed<M, S, E>
where
    DB: Backend,
    M: On<DB>,
    S: Stream + Send,
    S::Item: Row<M::New, Error = E>,
    E: Send,
{
    // Compiled for every model: of a `match` the compiler makes less code than of closures.
    fn poll_row(&mut self, context: &mut Context<'_>, values: &mut Values<'_, DB>) -> Poll<Option<bool>> {
        match self.rows.as_mut().poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(item)) => match item.into_row() {
                Ok(new) => {
                    M::work(RowOperation::Put(&new, values));
                    Poll::Ready(Some(true))
                }
                Err(error) => {
                    self.error = Some(error);
                    Poll::Ready(Some(false))
                }
            },
        }
    }
}

impl<DB, M, S, E> Rows<DB, E> for Streamed<M, S, E>
where
    DB: Backend,
    M: On<DB>,
    S: Stream + Send,
    S::Item: Row<M::New, Error = E>,
    E: Send,
{
    fn error(&mut self) -> Option<E> {
        self.error.take()
    }
}

/// The next rows of a source, up to a number.
pub(crate) struct Limited<'s, DB: Backend> {
    source: &'s mut dyn Source<DB>,
    left: u64,
    ended: bool,
}

impl<'s, DB: Backend> Limited<'s, DB> {
    pub(crate) fn new(source: &'s mut dyn Source<DB>, rows: u64) -> Self {
        Self { source, left: rows, ended: false }
    }

    /// Returns true once the source itself has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }
}

impl<DB: Backend> Source<DB> for Limited<'_, DB> {
    fn poll_row(&mut self, context: &mut Context<'_>, values: &mut Values<'_, DB>) -> Poll<Option<bool>> {
        if self.left == 0 || self.ended {
            return Poll::Ready(None);
        }
        self.source.poll_row(context, values).map(|row| {
            self.left -= 1;
            self.ended = row.is_none();
            row
        })
    }
}
