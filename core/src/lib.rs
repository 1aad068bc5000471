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
mod error;
mod model;
mod operations;
mod outcome;
mod retry;
mod sql;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(not(feature = "testing"))]
mod testing;
mod trace;
mod transaction;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use backend::Backend;
pub use calls::Upsertable;
pub use connection::Handle;
pub use error::{BoxError, EndReason, Error};
pub use model::{CreateKey, Holds, HoldsKey, On, Reads, Row, UniqueKey};
pub use operations::batches::{BatchProgress, BatchReport, Batches, CallEach};
pub use operations::bulk::{Bulk, BulkCreated, BulkUpserted, Progress};
pub use operations::verify::{Problem, Verified};
pub use outcome::Outcome;
pub use trace::span::warn_slower_than;
pub use transaction::hooks::{Hooks, Registry};
pub use transaction::on_commit::{AfterCommit, Committed, Output, on_commit};
pub use transaction::{
    Call, CallOnce, Conn, Isolation, Transaction, TransactionOptions, begin, begin_with, transaction,
};
pub use upsertable_macros::Upsertable;

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
