//! The closure that a run calls for each row.

use std::{any::Any, future::Future, marker::PhantomData};

use futures_core::future::BoxFuture;

use crate::{backend::Backend, error::BoxError, model::On, transaction::Transaction};

/// An async closure that is called for many rows.
///
/// Its future is named so that it can be required to be `Send`.
pub trait CallEach<T, M, R>: AsyncFn(T, M) -> R + Fn(T, M) -> <Self as CallEach<T, M, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, T, M, Fut, R> CallEach<T, M, R> for F
where
    F: AsyncFn(T, M) -> R + Fn(T, M) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// Work for each row, with the closure's type erased.
pub(super) trait Work<DB: Backend, M>: Send + Sync {
    fn row<'t>(&'t self, tx: &'t mut Transaction<DB>, row: M) -> BoxFuture<'t, Result<(), BoxError>>;
}

pub(super) struct ErasedWork<F, E> {
    work: F,
    error: PhantomData<fn() -> E>,
}

impl<F, E> ErasedWork<F, E> {
    pub(super) fn new(work: F) -> Self {
        Self { work, error: PhantomData }
    }
}

impl<DB, M, F, E> Work<DB, M> for ErasedWork<F, E>
where
    DB: Backend,
    M: On<DB>,
    E: Into<BoxError> + Send,
    for<'t> F: AsyncFn(&'t mut Transaction<DB>, M) -> Result<(), E>
        + CallEach<&'t mut Transaction<DB>, M, Result<(), E>, Fut: Send>
        + Send
        + Sync,
{
    fn row<'t>(&'t self, tx: &'t mut Transaction<DB>, row: M) -> BoxFuture<'t, Result<(), BoxError>> {
        Box::pin(async move { (self.work)(tx, row).await.map_err(Into::into) })
    }
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the closure panicked: {}", text.unwrap_or("no message"))
}
