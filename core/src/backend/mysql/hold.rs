//! The update of a row that is read back after it.

use sqlx::{Connection as _, MySql, SqlSafeStr as _, mysql::MySqlRow};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    backend::{Engine, RowStatements},
    connection::handle::Link,
    operations::find::{Part, Write, statement},
    sql::Sql,
    testing,
};

type Transactions = <MySql as sqlx::Database>::TransactionManager;

/// Updates a row and reads it back.
///
/// Neither server gives back what an UPDATE wrote, so the row is read after it, and kept from others meanwhile.
pub(super) async fn update_and_read(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    update: &Sql,
    mut write: Write<'_, MySql>,
) -> Result<Option<MySqlRow>, sqlx::Error> {
    let kept = Kept::begin(link).await?;
    let outcome = in_one(kept.link, texts, update, &mut write).await;
    kept.end(outcome).await
}

async fn in_one(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    update: &Sql,
    write: &mut Write<'_, MySql>,
) -> Result<Option<MySqlRow>, sqlx::Error> {
    // sqlx has the server count the rows found, not the rows that got other values.
    let found = link.execute_written(statement(update, &mut **write, Part::Update)?).await?;
    if found == 0 {
        return Ok(None);
    }
    Ok(link.fetch(statement(&texts.find, &mut **write, Part::Key)?).await?.into_iter().next())
}

/// Holds the locks on what is written until it is read.
///
/// The transaction that is open does so, or one of its own.
pub(super) struct Kept<'l, 'c> {
    pub(super) link: &'l mut Link<'c, MySql>,
    begun: bool,
}

const SAVEPOINT: &str = "upsertable_update";

impl<'l, 'c> Kept<'l, 'c> {
    pub(super) async fn begin(link: &'l mut Link<'c, MySql>) -> Result<Self, sqlx::Error> {
        let open = match link {
            Link::Inside(_) => true,
            Link::Pooled(..) => false,
            Link::Bare(conn) => conn.is_in_transaction() || MySql::save_if_open(conn, SAVEPOINT).await?,
        };
        let mut kept = Self { link, begun: false };
        if !open {
            kept.begun = true;
            testing::record(MySql::BEGIN);
            Transactions::begin(kept.link.raw(), Some(MySql::BEGIN.into_sql_str())).await?;
        }
        Ok(kept)
    }

    pub(super) async fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if !self.begun {
            return outcome;
        }
        let ended = if outcome.is_ok() {
            testing::record("COMMIT");
            Transactions::commit(self.link.raw()).await
        } else {
            testing::record("ROLLBACK");
            Transactions::rollback(self.link.raw()).await
        };
        self.begun = ended.is_err();
        outcome.and_then(|value| ended.map(|()| value))
    }
}

/// Rolls back what was given up half-way.
impl Drop for Kept<'_, '_> {
    fn drop(&mut self) {
        if self.begun {
            if let Link::Bare(conn) = &mut *self.link {
                MySql::queue_rollback(conn, 1);
            }
            self.link.give_up();
        }
    }
}
