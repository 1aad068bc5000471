//! A difference between a model and its table.

use std::fmt;

/// One way in which a table does not fit its model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Description of the problem, naming the table's column or key.
    pub what: String,
    /// The SQL that puts it right, where SQL can.
    ///
    /// It is quoted for the database.
    pub fix: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "; put it right with: {fix}"),
            None => Ok(()),
        }
    }
}
