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
    backend::Backend,
    feed::source::{Rows, Source},
    model::new_row::Row,
    model::values::Values,
    model::{On, RowOperation},
};

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
