//! Writes to tables with triggers, checked before they are kept.
//!
//! A trigger can store a row with another key, so the row is read.

use sqlx::{Connection as _, Row as _, SqlSafeStr as _, Sqlite, sqlite::SqliteRow};
use sqlx_core::transaction::TransactionManager as _;

use super::{
    insert_behavior::InsertBehavior,
    one_row::{self, ASK_CAUSE, ASK_NATURE, CREATE_WATCHED, FAILED_KEY, FAILED_TRIGGERS, OR_ABORT},
    primary_code,
};
use crate::{
    backend::{Engine, InsertOutcome, RowStatements},
    connection::handle::Link,
    operations::find::{Part, Write, statement},
    sql::{Sql, Statement},
    testing,
};

type Transactions = <Sqlite as sqlx::Database>::TransactionManager;

/// The error of a row that its key does not find.
///
/// It holds the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Mismatch(String);

pub(super) fn mismatch(cause: Option<String>) -> sqlx::Error {
    let cause = cause.unwrap_or_else(|| "it is stored with another key".to_owned());
    sqlx::Error::Configuration(Box::new(Mismatch(cause)))
}

pub(super) fn mismatch_cause(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Configuration(error) => error.downcast_ref::<Mismatch>().map(|mismatch| mismatch.0.as_str()),
        _ => None,
    }
}

/// Asks what in the table can change a stored key.
pub(super) async fn cause(link: &mut Link<'_, Sqlite>, ask: &Sql) -> Result<Option<String>, sqlx::Error> {
    link.fetch(Statement::plain(ask)).await?.first().map_or(Ok(None), |row| row.try_get(0))
}

fn says(error: &sqlx::Error, message: &str) -> bool {
    error.as_database_error().is_some_and(|error| error.message() == message)
}

/// Returns true if a statement stopped because its table has triggers.
///
/// It has done nothing then.
pub(super) fn finds_triggers(error: &sqlx::Error) -> bool {
    says(error, FAILED_TRIGGERS)
}

/// Inserts the row unless its key is there.
pub(super) async fn create(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    write: Write<'_, Sqlite>,
) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
    let mut values = <Sqlite as Engine>::Encoder::default();
    write(Part::Row, &mut values)?;
    write(Part::Key, &mut values)?;
    match link.fetch_written(Statement::cached(&texts.create, values)).await {
        Ok(made) => Ok(made.into_iter().next().map_or(InsertOutcome::KeyExists, InsertOutcome::Made)),
        Err(error) if finds_triggers(&error) => create_watched(link, texts, write).await,
        Err(error) if says(&error, FAILED_KEY) => Err(mismatch(cause(link, &texts.others[ASK_CAUSE]).await?)),
        Err(error) => Err(error),
    }
}

/// Inserts the row unless its key exists, and reads it back.
///
/// A trigger may do anything with the row: what is given is what is stored after it.
async fn create_watched(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    write: Write<'_, Sqlite>,
) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
    let leaves = leaves_to_triggers(link, texts).await?;
    let kept = Kept::begin(link).await?;
    let outcome = insert_and_read(kept.link, texts, write, leaves).await;
    kept.end(outcome).await
}

async fn insert_and_read(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    write: Write<'_, Sqlite>,
    leaves: bool,
) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
    let plain = &texts.others[CREATE_WATCHED];
    let with_abort;
    let insert = if leaves {
        plain
    } else {
        with_abort = Sql::from(plain.as_str().replacen("INSERT", &format!("INSERT{OR_ABORT}"), 1));
        &with_abort
    };
    if link.fetch_written(statement(insert, &mut *write, Part::Row)?).await?.is_empty() {
        return Ok(InsertOutcome::KeyExists);
    }
    let made = link.fetch_written(statement(&texts.find, write, Part::Key)?).await?;
    match made.into_iter().next() {
        Some(row) => Ok(InsertOutcome::Made(row)),
        None => Err(mismatch(cause(link, &texts.others[ASK_CAUSE]).await?)),
    }
}

/// Returns true if triggers decide what a conflict does.
async fn leaves_to_triggers(link: &mut Link<'_, Sqlite>, texts: &RowStatements) -> Result<bool, sqlx::Error> {
    let row = link.fetch(Statement::plain(&texts.others[ASK_NATURE])).await?.pop();
    Ok(row.map(|row| InsertBehavior::read(&row)).transpose()?.flatten().is_none_or(InsertBehavior::leaves_to_triggers))
}

/// Updates a row and returns it.
///
/// Where the table has triggers that say what a conflict of theirs does, a statement that says it too fails, and is done again without.
pub(super) async fn update(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    update: &Sql,
    write: Write<'_, Sqlite>,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let updated = link.fetch_written(statement(update, &mut *write, Part::Update)?).await;
    let updated = match updated {
        Err(error) if is_constraint(&error) && leaves_to_triggers(link, texts).await? => {
            link.fetch_written(statement(&one_row::without_abort(update), write, Part::Update)?).await?
        }
        updated => updated?,
    };
    Ok(updated.into_iter().next())
}

fn is_constraint(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| primary_code(error) == Some(19))
}

/// Holds statements together, which are kept whole or not at all.
struct Kept<'l, 'c> {
    link: &'l mut Link<'c, Sqlite>,
    hold: Hold,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Nothing,
    /// A savepoint that the driver counts.
    Savepoint,
    /// A savepoint in a transaction begun with plain SQL.
    PlainSavepoint,
    /// A transaction of its own.
    Transaction,
}

const SAVEPOINT: &str = "upsertable_hold";

impl<'l, 'c> Kept<'l, 'c> {
    async fn begin(link: &'l mut Link<'c, Sqlite>) -> Result<Self, sqlx::Error> {
        let mut kept = Self { link, hold: Hold::Nothing };
        match &mut *kept.link {
            Link::Inside(conn) => {
                conn.set_unfinished(true);
                if let Err(error) = conn.begin_savepoint().await {
                    conn.set_unfinished(false);
                    return Err(error);
                }
                kept.hold = Hold::Savepoint;
            }
            Link::Bare(conn) if conn.is_in_transaction() => {
                Sqlite::begin_nested(conn).await?;
                kept.hold = Hold::Savepoint;
            }
            Link::Bare(_) | Link::Pooled(..) => kept.begin_own().await?,
        }
        Ok(kept)
    }

    /// Begins a savepoint or a transaction of its own.
    ///
    /// The hold is noted before what it says is done, so that a call dropped in between undoes it.
    async fn begin_own(&mut self) -> Result<(), sqlx::Error> {
        if let Link::Bare(conn) = &mut *self.link {
            self.hold = Hold::PlainSavepoint;
            if Sqlite::save_if_open(conn, SAVEPOINT).await? {
                return Ok(());
            }
        }
        self.hold = Hold::Transaction;
        testing::record(Sqlite::BEGIN);
        let begun = Transactions::begin(self.link.raw(), Some(Sqlite::BEGIN.into_sql_str())).await;
        if begun.is_err() {
            self.hold = Hold::Nothing;
        }
        begun
    }

    /// Keeps what was done if a row was made, otherwise undoes.
    ///
    /// A row that is there leaves no trace, nor does one that a trigger drops.
    async fn end(
        mut self,
        outcome: Result<InsertOutcome<Sqlite>, sqlx::Error>,
    ) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
        let ended = self.release(matches!(outcome, Ok(InsertOutcome::Made(_)))).await;
        outcome.and_then(|value| ended.map(|()| value))
    }

    async fn release(&mut self, keep: bool) -> Result<(), sqlx::Error> {
        match (self.hold, &mut *self.link) {
            (Hold::Savepoint, Link::Inside(conn)) => {
                if keep {
                    conn.release_savepoint().await?;
                } else {
                    conn.rollback_savepoint().await?;
                }
            }
            (Hold::PlainSavepoint, link) => {
                let undo = if keep { String::new() } else { format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; ") };
                let release = Sql::from(format!("{undo}RELEASE SAVEPOINT {SAVEPOINT}"));
                link.execute(Statement::plain(&release)).await?;
            }
            (Hold::Savepoint | Hold::Transaction, link) => {
                testing::record(match (self.hold, keep) {
                    (Hold::Transaction, true) => "COMMIT",
                    (Hold::Transaction, false) => "ROLLBACK",
                    (_, true) => "RELEASE SAVEPOINT",
                    (_, false) => "ROLLBACK TO SAVEPOINT",
                });
                if keep {
                    Transactions::commit(link.raw()).await?;
                } else {
                    Transactions::rollback(link.raw()).await?;
                }
            }
            (Hold::Nothing, _) => {}
        }
        self.hold = Hold::Nothing;
        self.link.set_unfinished(false);
        Ok(())
    }
}

/// Undoes what was given up half-way.
///
/// Left marked as unfinished, a transaction of ours refuses its next statement.
impl Drop for Kept<'_, '_> {
    fn drop(&mut self) {
        match (self.hold, &mut *self.link) {
            (Hold::Savepoint, Link::Bare(conn)) => Transactions::start_rollback(conn),
            (Hold::PlainSavepoint, Link::Bare(conn)) => Sqlite::queue_rollback_to(conn, SAVEPOINT),
            (Hold::Transaction, link @ (Link::Bare(_) | Link::Pooled(..))) => Sqlite::queue_rollback(link.raw(), 1),
            _ => {}
        }
    }
}
