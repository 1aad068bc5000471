//! The types and collations of text columns.

use sqlx::{
    Postgres, Row as _, TypeInfo as _,
    postgres::{PgArguments, PgRow},
};

use crate::{
    backend::postgres::dialect::StagingPlan,
    backend::postgres::{encoding, key_index, stage_statements},
    connection::link::Link,
    sql::statement::Statement,
    sql::table::Table,
};

/// A text column of the target.
pub(super) struct TextColumn {
    pub(super) column: String,
    /// The type that it compares as.
    pub(super) kind: String,
    /// True if it compares as `text` does.
    pub(super) is_plain: bool,
}

pub(super) async fn of_table(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<TextColumn>, sqlx::Error> {
    let rows = link.fetch(Statement::cached(&key_index::text_columns(table), PgArguments::default())).await?;
    let text =
        |row: &PgRow| Ok(TextColumn { column: row.try_get(0)?, kind: row.try_get(1)?, is_plain: row.try_get(2)? });
    rows.iter().map(text).collect()
}

/// Returns the declared types of the staged columns.
///
/// Each is the type of what is sent. Texts of the key, which compare as the target's column does, and what has no name here have the
/// target's own type; of a domain it is its base type.
pub(super) async fn staged_types(
    link: &mut Link<'_, Postgres>,
    stage: &StagingPlan,
) -> Result<Vec<String>, sqlx::Error> {
    let mut types: Vec<String> = stage.types.iter().map(|kind| stage_statements::type_name(kind).to_owned()).collect();
    let texts: Vec<usize> = key_texts(stage).collect();
    let columns = stage.columns.iter().zip(&stage.types).enumerate();
    let wanted: Vec<(usize, &str, Option<&str>)> = columns
        .filter(|(position, (_, kind))| texts.contains(position) || !encoding::is_everywhere(kind))
        .map(|(position, (&column, kind))| {
            let like_target = texts.contains(&position) || kind.name() == "?";
            (position, stage.table.columns[column].name, (!like_target).then(|| stage_statements::type_name(kind)))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(types);
    }
    for row in link.fetch(Statement::plain(&key_index::staged_types(stage.table, &wanted))).await? {
        let (position, declared): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(kind) = usize::try_from(position).ok().and_then(|position| types.get_mut(position)) {
            *kind = declared;
        }
    }
    Ok(types)
}

/// Returns the positions of the key's texts among the staged columns.
fn key_texts(stage: &StagingPlan) -> impl Iterator<Item = usize> {
    stage.key_positions().filter(|&position| encoding::is_text(&stage.types[position]))
}

/// Tests if the key's values compare as they are sent.
///
/// They compare with each other as the columns do, without being made what the columns are.
pub(super) async fn compares_as_sent(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<bool, sqlx::Error> {
    let texts: Vec<&str> = key_texts(stage).map(|position| stage.table.columns[stage.columns[position]].name).collect();
    let of_target = if texts.is_empty() { Vec::new() } else { of_table(link, stage.table).await? };
    Ok(texts.iter().all(|name| of_target.iter().any(|text| text.column == *name && text.is_plain)))
}
