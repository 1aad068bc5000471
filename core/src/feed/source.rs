//! The rows of a bulk call, with the model erased.

use std::task::{Context, Poll};

use crate::{driver::encoding::Encoding, error::Error, model::values::Values};

/// Rows to come, written as they are asked for.
pub(crate) trait Source<DB: Encoding>: Send {
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
pub(crate) trait Rows<DB: Encoding, E>: Source<DB> {
    /// The error that it gave.
    fn error(&mut self) -> Option<E>;
}

/// The next rows of a source, up to a number.
pub(crate) struct Limited<'s, DB: Encoding> {
    source: &'s mut dyn Source<DB>,
    left: u64,
    ended: bool,
}

impl<'s, DB: Encoding> Limited<'s, DB> {
    pub(crate) fn new(source: &'s mut dyn Source<DB>, rows: u64) -> Self {
        Self { source, left: rows, ended: false }
    }

    /// Returns true once the source itself has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }
}

impl<DB: Encoding> Source<DB> for Limited<'_, DB> {
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
