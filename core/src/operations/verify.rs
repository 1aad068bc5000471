//! Checks that a table is as its model needs it.

use std::fmt::Write as _;

use crate::{
    backend::Backend,
    backend::catalogue::{CatalogColumn, CatalogIndex, CatalogTable, Fit, Mend},
    connection::handle::Session,
    connection::link::Link,
    error::Error,
    error::problem::Problem,
    sql::statement::Statement,
    sql::table::{Column, Key, Table},
    sql::text::Sql,
};

/// A table that is as its model needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Things that work and may still surprise.
    ///
    /// A column that can lose a part of what the model sends, or hold NULL where the model reads none, a storage engine without
    /// transactions, tables that inherit from this one.
    pub warnings: Vec<Problem>,
}

/// Findings of [`verify_all!`](crate::verify_all) so far.
#[derive(Debug, Default)]
pub struct AllVerified {
    warnings: Vec<Problem>,
    models: Option<&'static str>,
    problems: Vec<Problem>,
}

impl AllVerified {
    /// Adds the outcome of one model.
    ///
    /// Any error but that of a schema ends the whole.
    pub fn add(&mut self, outcome: Result<Verified, Error>) -> Result<(), Error> {
        match outcome {
            Ok(verified) => self.warnings.extend(verified.warnings),
            Err(Error::Schema { model, problems }) => {
                self.models.get_or_insert(model);
                let named = |problem: Problem| Problem { what: format!("{model}: {}", problem.what), ..problem };
                self.problems.extend(problems.into_iter().map(named));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// The warnings of all models, or one error with all problems.
    ///
    /// The error names the first model that has any.
    pub fn finish(self) -> Result<Verified, Error> {
        match self.models {
            None => Ok(Verified { warnings: self.warnings }),
            Some(model) => Err(Error::Schema { model, problems: self.problems }),
        }
    }
}

/// Compares the table with the model.
pub(crate) async fn verify<DB: Backend>(
    session: &mut Session<'_, DB>,
    table: &'static Table,
    types: Vec<DB::TypeInfo>,
) -> Result<Verified, Error> {
    let mut link = session.link().await?;
    let verified = verify_on(&mut link, table, types).await;
    link.end_implicit_transaction(verified).await
}

async fn verify_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    table: &'static Table,
    types: Vec<DB::TypeInfo>,
) -> Result<Verified, Error> {
    let mut report = Report::default();
    if let Some(refusal) = DB::refuse_table(link, table).await? {
        report.problem(refusal, None);
        return Err(Error::Schema { model: table.model, problems: report.problems });
    }
    match DB::inspect(link, table).await? {
        None => report.problem(format!("there is no table {}", DB::SHOWN.table(table)), None),
        Some(mut found) => {
            report.problems.append(&mut found.problems);
            found.warnings.drain(..).for_each(|warning| report.warning(warning));
            let unmended = columns(&mut report, link, table, &types, &found).await?;
            unknown_columns::<DB>(&mut report, table, &found);
            for key in &table.keys {
                unique_index(&mut report, link, table, key, (&found, &unmended)).await?;
            }
        }
    }
    if report.problems.is_empty() {
        Ok(Verified { warnings: report.warnings })
    } else {
        Err(Error::Schema { model: table.model, problems: report.problems })
    }
}

#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    fn problem(&mut self, what: String, fix: Option<String>) {
        self.problems.push(Problem { what, fix });
    }

    /// Reports a column that nothing is known to fill in.
    fn unfilled(&mut self, what: String, found: &CatalogTable) {
        if found.has_filling_trigger {
            self.warning(format!("{what}, unless a trigger does"));
        } else {
            self.problem(what, None);
        }
    }

    fn warning(&mut self, what: String) {
        self.warnings.push(Problem { what, fix: None });
    }
}

/// Checks that each column is there and fits its field.
///
/// It can hold what the model sends, and gives what the model reads. Gives the columns that no statement is known to add.
async fn columns<DB: Backend>(
    report: &mut Report,
    link: &mut Link<'_, DB>,
    table: &'static Table,
    types: &[DB::TypeInfo],
    found: &CatalogTable,
) -> Result<Vec<&'static str>, sqlx::Error> {
    let mut unmended = Vec::new();
    for (column, kind) in table.columns.iter().zip(types) {
        let Some(there) = found.columns.iter().find(|there| DB::same_name(&there.name, column.name)) else {
            if !missing_column(report, link, table, (column, kind), found).await? {
                unmended.push(column.name);
            }
            continue;
        };
        match DB::fit(kind, there) {
            Fit::Holds => {}
            // The model sends nothing to a column that the database fills in.
            Fit::Loses(_) if column.generated => {}
            Fit::Loses(what) => report.warning(format!("column {}: {what}", column.name)),
            Fit::Refuses(what) => report.problem(format!("column {}: {what}", column.name), None),
        }
        nullability(report, link, table, (column, there), found).await?;
    }
    Ok(unmended)
}

/// Reports a missing column.
///
/// Gives true if a statement is known that adds it.
async fn missing_column<DB: Backend>(
    report: &mut Report,
    link: &mut Link<'_, DB>,
    table: &'static Table,
    (column, kind): (&'static Column, &DB::TypeInfo),
    found: &CatalogTable,
) -> Result<bool, sqlx::Error> {
    let mut what = format!("there is no column {}", column.name);
    let mut fix = DB::add_column(table, column, kind);
    if found.is_closed || (column.generated && !column.nullable && found.counts) {
        fix = None;
    }
    if fix.is_some() && !column.nullable && !column.generated && has_rows(link, table).await? {
        what.push_str(", and the rows that are there need a value in it");
        fix = None;
    }
    let is_known = fix.is_some();
    report.problem(what, fix.map(|fix| format!("{}{fix}", found.before_ddl)));
    Ok(is_known)
}

async fn has_rows<DB: Backend>(link: &mut Link<'_, DB>, table: &Table) -> Result<bool, sqlx::Error> {
    let ask = Sql::from(format!("SELECT 1 FROM {} LIMIT 1", DB::DIALECT.table(table)));
    Ok(!link.fetch(Statement::plain(&ask)).await?.is_empty())
}

async fn nullability<DB: Backend>(
    report: &mut Report,
    link: &mut Link<'_, DB>,
    table: &'static Table,
    (column, there): (&'static Column, &CatalogColumn),
    found: &CatalogTable,
) -> Result<(), sqlx::Error> {
    if !column.generated && there.computed {
        let what = format!(
            "column {} is computed by the database, and the field `{}` is not `generated`",
            column.name, column.field
        );
        report.problem(what, None);
        return Ok(());
    }
    if column.nullable && !there.nullable && !column.generated {
        let what = format!("column {} is NOT NULL, and the field `{}` is an Option", column.name, column.field);
        let fix = DB::allow_null(link, table, column).await?;
        report.problem(what, fix.map(|fix| format!("{}{fix}", found.before_ddl)));
    }
    if !column.nullable && there.nullable && !there.is_row_id {
        let what = format!("column {} can be NULL, and the field `{}` cannot", column.name, column.field);
        report.warning(what);
    }
    // NULL fills it, where both can be NULL.
    if column.generated && !there.filled && !(column.nullable && there.nullable) {
        let what =
            format!("column {} is `generated` in the model, and the database has nothing to fill it with", column.name);
        report.unfilled(what, found);
    }
    Ok(())
}

/// Reports unknown columns that an INSERT cannot leave out.
fn unknown_columns<DB: Backend>(report: &mut Report, table: &Table, found: &CatalogTable) {
    for there in &found.columns {
        let known = table.columns.iter().any(|column| DB::same_name(column.name, &there.name));
        if !known && !there.nullable && !there.filled {
            let what = format!("column {} is NOT NULL without a default, and the model does not supply it", there.name);
            report.unfilled(what, found);
        }
    }
}

/// Checks that a unique index is on exactly the key's columns.
async fn unique_index<DB: Backend>(
    report: &mut Report,
    link: &mut Link<'_, DB>,
    table: &'static Table,
    key: &'static Key,
    (found, unmended): (&CatalogTable, &[&str]),
) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = key.columns.iter().map(|&column| table.columns[column].name).collect();
    if let (true, Some(why)) = (key.nulls_not_distinct, DB::NULLS_ARE_DISTINCT) {
        report.problem(format!("the key ({}) cannot be kept: {why}", names.join(", ")), None);
        return Ok(());
    }
    let on_key = |index: &&CatalogIndex| {
        index.columns.len() == names.len()
            && names.iter().all(|name| index.columns.iter().any(|there| DB::same_name(there, name)))
    };
    let candidates: Vec<&CatalogIndex> = found.indexes.iter().filter(on_key).collect();
    if candidates.iter().any(|index| index.unusable.is_none() && (index.nulls_not_distinct || !key.nulls_not_distinct))
    {
        return Ok(());
    }
    let mut what = format!("there is no unique index on ({})", names.join(", "));
    for index in candidates {
        let why = index.unusable.as_deref().unwrap_or("it takes two NULLs for different");
        // Writing to a `String` cannot fail.
        let _ = write!(what, "; {} does not count: {why}", index.name);
    }
    let fix = match DB::mend_index(link, table, key).await? {
        Mend::Not(why) => {
            let _ = write!(what, "; none can be added: {why}");
            None
        }
        Mend::By(_) if names.iter().any(|name| unmended.contains(name)) => None,
        Mend::By(sql) => Some(sql),
    };
    let is_there = |name: &&str| found.columns.iter().any(|there| DB::same_name(&there.name, name));
    if fix.is_some() && names.iter().all(is_there) {
        what.push_str(&duplicates(link, table, key).await?);
    }
    report.problem(what, fix);
    Ok(())
}

/// Finds the statement that gives a key its unique index.
pub(crate) async fn mend<DB: Backend>(
    link: &mut Link<'_, DB>,
    table: &'static Table,
    key: &'static Key,
) -> Result<Mend, sqlx::Error> {
    let mend = DB::mend_index(link, table, key).await?;
    let Some(found) = DB::inspect(link, table).await? else { return Ok(mend) };
    let is_there = |name: &str| found.columns.iter().any(|there| DB::same_name(&there.name, name));
    let missing = key.columns.iter().map(|&column| table.columns[column].name).find(|name| !is_there(name));
    Ok(match (mend, missing) {
        (Mend::By(_), Some(name)) => Mend::Not(format!("there is no column {name}")),
        (mend, _) => mend,
    })
}

/// Counts the keys that stand in the way of the index.
///
/// They have more than one row; the text says how to see them.
async fn duplicates<DB: Backend>(link: &mut Link<'_, DB>, table: &Table, key: &Key) -> Result<String, sqlx::Error> {
    let columns = DB::SHOWN.columns(table, key.columns.iter().copied(), "");
    let list =
        format!("SELECT {columns}, count(*) FROM {} GROUP BY {columns} HAVING count(*) > 1", DB::SHOWN.table(table));
    let repeated = link.fetch(Statement::plain(&Sql::from(list.as_str()))).await?.len();
    Ok(match repeated {
        0 => String::new(),
        1 => format!("; 1 key stands in its way, as it has more than one row: {list}"),
        _ => format!("; {repeated} keys stand in its way, as they have more than one row: {list}"),
    })
}
