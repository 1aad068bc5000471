//! The table and key that a call is about.

use crate::{
    backend::Backend,
    backend::catalogue::Mend,
    connection::handle::Session,
    error::Error,
    error::meaning::Meaning,
    operations::verify,
    sql::row_statements::RowStatements,
    sql::table::{Key, Table},
    trace::span::CallSpan,
};

/// One key of one model, and the operation on it.
///
/// It is for messages and statements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) table: &'static Table,
    pub(crate) key: &'static Key,
    index: usize,
    pub(crate) operation: &'static str,
}

impl Target {
    /// The key with this number.
    ///
    /// The derive numbers the keys, so it is there; any other number means the first.
    pub(crate) fn new(table: &'static Table, index: usize, operation: &'static str) -> Self {
        let index = if index < table.keys.len() { index } else { 0 };
        Self { table, key: &table.keys[index], index, operation }
    }

    pub(crate) fn span(self) -> CallSpan {
        CallSpan::begin(self.operation, self.table.name)
    }

    pub(crate) fn row_statements<DB: Backend>(self) -> &'static RowStatements {
        let make = || self.table.keys.iter().map(|key| DB::row_statements(self.table, key)).collect();
        &self.table.row_statements[DB::CACHE].get_or_init(make)[self.index]
    }

    /// Refuses a key that the database cannot keep unique.
    pub(crate) fn check<DB: Backend>(self) -> Result<(), Error> {
        match DB::NULLS_ARE_DISTINCT {
            Some(reason) if self.key.nulls_not_distinct => Err(self.unsupported(reason.to_owned())),
            _ => Ok(()),
        }
    }

    /// Gives an error of an insert its meaning.
    ///
    /// The key that was asked for is never what a unique index complains of.
    pub(crate) fn explain<DB: Backend>(self, error: sqlx::Error) -> Error {
        match Meaning::of(&error) {
            Meaning { mismatch: Some(cause), .. } => self.key_mismatch(cause.into_owned()),
            Meaning { refusal: Some(reason), .. } => self.unsupported(reason.to_owned()),
            Meaning { missing_index: true, .. } => self.missing_unique_index::<DB>(Some(error)),
            Meaning { unique_violation: true, .. } => self.other_unique(Some(error)),
            _ => error.into(),
        }
    }

    pub(crate) fn missing_unique_index<DB: Backend>(self, source: Option<sqlx::Error>) -> Error {
        Error::MissingUniqueIndex {
            model: self.table.model,
            operation: self.operation,
            key: self.key_columns(),
            create: DB::create_unique_index(self.table, self.key),
            why: None,
            source: source.map(Box::new),
        }
    }

    /// Adds to an error what mends the table.
    ///
    /// Only the catalogue knows that, and it is asked once the call has ended.
    pub(crate) async fn completed<DB: Backend>(self, session: &mut Session<'_, DB>, mut error: Error) -> Error {
        if let Error::MissingUniqueIndex { create, why, .. } = &mut error
            && let Ok(mut link) = session.link().await
        {
            let mend = verify::mend::<DB>(&mut link, self.table, self.key).await;
            match link.end_implicit_transaction(mend).await {
                Ok(Mend::By(sql)) => *create = sql,
                Ok(Mend::Not(reason)) => {
                    create.clear();
                    *why = Some(reason);
                }
                // The transaction is one that runs no further statement.
                Err(_) => {}
            }
        }
        error
    }

    pub(crate) fn other_unique(self, source: Option<sqlx::Error>) -> Error {
        Error::OtherUnique {
            model: self.table.model,
            operation: self.operation,
            key: self.key_columns(),
            source: source.map(Box::new),
        }
    }

    pub(crate) fn many_rows(self) -> Error {
        Error::ManyRows { model: self.table.model, operation: self.operation, key: self.key_columns() }
    }

    pub(crate) fn vanished(self) -> Error {
        Error::Vanished { model: self.table.model, operation: self.operation }
    }

    pub(crate) fn key_mismatch(self, cause: String) -> Error {
        let (model, operation) = (self.table.model, self.operation);
        Error::KeyMismatch { model, operation, key: self.key_columns(), cause }
    }

    pub(crate) fn partly(self, committed: u64, source: Error) -> Error {
        let (model, operation) = (self.table.model, self.operation);
        Error::Partly { model, operation, committed, source: Box::new(source) }
    }

    pub(crate) fn unsupported(self, what: String) -> Error {
        Error::Unsupported { model: self.table.model, operation: self.operation, what }
    }

    fn key_columns(self) -> String {
        self.key.columns.iter().map(|&column| self.table.columns[column].name).collect::<Vec<_>>().join(", ")
    }
}
