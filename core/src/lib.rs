#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(dead_code, unused_imports, reason = "without a database there is nobody to use what the databases share")
)]

// The README's and the documentation's examples are written as a user writes them.
extern crate self as upsertable;

mod backend;
// `upsertable` is the crate itself here.
#[path = "upsertable.rs"]
mod calls;
mod connection;
mod driver;
mod error;
mod feed;
mod model;
mod operations;
mod outcome;
mod retry;
mod sql;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod transaction;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use backend::Backend;
pub use calls::Upsertable;
pub use connection::handle::Handle;
pub use driver::isolation::Isolation;
pub use error::{BoxError, Error, end_reason::EndReason, problem::Problem};
pub use feed::progress::Progress;
pub use model::column::{Holds, HoldsKey, Reads};
pub use model::new_row::Row;
pub use model::{CreateKey, Model, On, UniqueKey};
pub use operations::batches::builder::Batches;
pub use operations::batches::report::{BatchProgress, BatchReport};
pub use operations::batches::work::CallEach;
pub use operations::bulk::builder::Bulk;
pub use operations::bulk::report::{BulkCreated, BulkUpserted};
pub use operations::verify::Verified;
pub use outcome::Outcome;
pub use trace::span::warn_slower_than;
pub use transaction::Transaction;
pub use transaction::begin::{begin, begin_with};
pub use transaction::callback::{Committed, Output};
pub use transaction::closure::{Call, transaction};
pub use transaction::conn::Conn;
pub use transaction::hooks::{Hooks, Registry};
pub use transaction::on_commit::{AfterCommit, on_commit};
pub use transaction::options::TransactionOptions;
pub use transaction::savepoint::CallOnce;
pub use upsertable_macros::Upsertable;

/// The derive's example, which the macro crate cannot compile by itself.
#[cfg(doctest)]
#[doc = include_str!("../../macros/src/example.md")]
struct DeriveExample;

/// [Verifies](Upsertable::verify) several models in one call.
///
/// A future that gives the warnings of all models, or one error with everything that was found.
///
/// ```
/// # use upsertable::Upsertable;
/// # #[derive(Debug, sqlx::FromRow, Upsertable)]
/// # #[unique(name)]
/// # struct Tag { #[upsertable(generated)] id: i64, name: String }
/// # #[derive(Debug, sqlx::FromRow, Upsertable)]
/// # #[unique(name)]
/// # struct Song { #[upsertable(generated)] id: i64, name: String }
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// upsertable::verify_all!(&pool; Tag, Song).await?;
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! verify_all {
    ($db:expr; $($model:ty),+ $(,)?) => {
        async {
            let mut all = $crate::__private::AllVerified::default();
            $(all.add(<$model as $crate::Upsertable>::verify($db).await)?;)+
            all.finish()
        }
    };
}
