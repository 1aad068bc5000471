//! The filter and the options of a run.

use futures_core::future::BoxFuture;
use sqlx::error::BoxDynError;

use crate::{
    backend::Backend, driver::encoding::Encoding, error::Error, operations::batches::report::BatchProgress,
    operations::target::Target, transaction::options::TransactionOptions,
};

/// Writes one value of the filter, as often as it is needed.
pub(super) type Bind<'a, DB> =
    Box<dyn Fn(&mut <DB as Encoding>::Encoder) -> Result<(), BoxDynError> + Send + Sync + 'a>;

const SIZE: usize = 500;

/// The filter and the options of a run.
pub(super) struct Settings<'a, DB: Encoding> {
    pub(super) conditions: Vec<String>,
    pub(super) values: Vec<Bind<'a, DB>>,
    pub(super) size: usize,
    pub(super) concurrency: usize,
    pub(super) options: TransactionOptions,
    pub(super) on_progress: Box<dyn FnMut(BatchProgress) + Send + 'a>,
    pub(super) stop: BoxFuture<'a, ()>,
}

impl<DB: Encoding> Default for Settings<'_, DB> {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            values: Vec::new(),
            size: SIZE,
            concurrency: 1,
            options: TransactionOptions::new(),
            on_progress: Box::new(|_| ()),
            stop: Box::pin(std::future::pending()),
        }
    }
}

/// Joins the filters into one condition.
///
/// It has to have as many placeholders as there are values: a missing value would be NULL on SQLite, and the filter then hold for no row.
pub(super) fn join<DB: Backend>(conditions: &[String], values: usize, target: Target) -> Result<Option<String>, Error> {
    let mut joined = String::new();
    let mut count = 0;
    for condition in conditions {
        let (text, placeholders) = DB::QUOTING.placeholders(condition, DB::DIALECT, count + 1);
        count += placeholders;
        if joined.is_empty() {
            joined = text;
        } else {
            joined = format!("{joined}\n) AND ({text}");
        }
    }
    if count != values {
        let what = format!("the filter has {count} `?` and {values} bound values; call `bind` once for each `?`");
        return Err(target.unsupported(what));
    }
    Ok((!conditions.is_empty()).then_some(joined))
}
