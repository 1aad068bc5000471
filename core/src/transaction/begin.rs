//! Begins a transaction.

use sqlx::Pool;

use crate::{
    driver::Driver, error::Error, transaction::Transaction, transaction::conn::Conn, transaction::hooks::Hooks,
    transaction::options::TransactionOptions,
};

/// Begins a transaction on a connection of the pool.
///
/// On SQLite it begins IMMEDIATE: a deferred transaction that reads and then writes fails at once, whatever the busy timeout, when another
/// has written meanwhile.
///
/// # Statements
///
/// One: `BEGIN`, on SQLite `BEGIN IMMEDIATE`.
///
/// # Errors
///
/// [`Error::Sql`]: no connection could be had, or the database refused.
///
/// # Cancel safety
///
/// Dropped half-way, no transaction stays open.
///
/// # Example
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let tx = upsertable::begin(&pool).await?;
/// tx.rollback().await?;
/// # Ok(())
/// # }
/// ```
pub async fn begin<DB: Driver>(pool: &Pool<DB>) -> Result<Transaction<DB>, Error> {
    begin_with(pool, &Hooks::default()).await
}

/// Begins a transaction with hooks on the rows that it creates.
///
/// # Statements
///
/// One: `BEGIN`, on SQLite `BEGIN IMMEDIATE`.
///
/// # Errors
///
/// [`Error::Sql`]: no connection could be had, or the database refused.
///
/// # Cancel safety
///
/// Dropped half-way, no transaction stays open.
///
/// # Example
///
/// See [`Hooks`].
pub async fn begin_with<DB: Driver>(pool: &Pool<DB>, hooks: &Hooks) -> Result<Transaction<DB>, Error> {
    Ok(Transaction(Conn::begin(pool, &TransactionOptions::new(), hooks, false).await?))
}

impl TransactionOptions {
    /// Begins one transaction, which is not tried again.
    ///
    /// # Statements
    ///
    /// As for [`begin`](crate::begin); on MySQL one more that sets the isolation level.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`]: no connection could be had, or the database refused.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, no transaction stays open.
    pub async fn begin<DB: Driver>(&self, pool: &Pool<DB>) -> Result<Transaction<DB>, Error> {
        Ok(Transaction(Conn::begin(pool, self, &self.hooks, false).await?))
    }
}
