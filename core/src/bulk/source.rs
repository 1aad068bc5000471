//! Where the rows of a bulk call come from, with the model taken out: all that follows is compiled once a database, not once a model.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{
    Error,
    backend::Backend,
    model::{On, Only, Row, Values},
};

/// Rows to come, written as they are asked for.
pub(crate) trait Source<DB: Backend>: Send {
    /// Writes the next row.
    fn poll_row(&mut self, context: &mut Context<'_>, encoder: &mut DB::Encoder) -> Poll<Option<Result<(), Failure>>>;
}

/// Why a bulk call failed.
pub enum Failure {
    /// The stream gave an error, which is kept where the stream is.
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

/// The rows of a stream, and the error that it gave.
pub(crate) struct Streamed<'s, M, S, E> {
    rows: Pin<&'s mut S>,
    error: Option<E>,
    model: PhantomData<fn() -> M>,
}

impl<'s, M, S, E: From<Error>> Streamed<'s, M, S, E> {
    pub(crate) fn new(rows: Pin<&'s mut S>) -> Self {
        Self { rows, error: None, model: PhantomData }
    }

    /// The call's error: the stream's own, if that is where it came from.
    pub(crate) fn error(self, failure: Failure) -> E {
        match (failure, self.error) {
            (Failure::Call(error), _) => error.into(),
            (Failure::Item, Some(error)) => error,
            // An item's failure leaves its error here.
            (Failure::Item, None) => Error::Sql(sqlx::Error::WorkerCrashed).into(),
        }
    }
}

impl<DB, M, S, E> Source<DB> for Streamed<'_, M, S, E>
where
    DB: Backend,
    M: On<DB>,
    S: Stream + Send,
    S::Item: Row<M::New, Error = E>,
    E: Send,
{
    fn poll_row(&mut self, context: &mut Context<'_>, encoder: &mut DB::Encoder) -> Poll<Option<Result<(), Failure>>> {
        self.rows.as_mut().poll_next(context).map(|item| {
            item.map(|item| match item.into_row() {
                Ok(new) => write::<DB, M>(&new, encoder),
                Err(error) => {
                    self.error = Some(error);
                    Err(Failure::Item)
                }
            })
        })
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

    /// Whether the source itself has come to its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }
}

impl<DB: Backend> Source<DB> for Limited<'_, DB> {
    fn poll_row(&mut self, context: &mut Context<'_>, encoder: &mut DB::Encoder) -> Poll<Option<Result<(), Failure>>> {
        if self.left == 0 || self.ended {
            return Poll::Ready(None);
        }
        self.source.poll_row(context, encoder).map(|row| {
            self.left -= 1;
            self.ended = row.is_none();
            row
        })
    }
}

fn write<DB: Backend, M: On<DB>>(new: &M::New, encoder: &mut DB::Encoder) -> Result<(), Failure> {
    Ok(M::put(new, &mut Values::new(M::table(), Only::Everything, encoder))?)
}
