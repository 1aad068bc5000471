//! Pages of a table by a key.

use sqlx::Postgres;

use crate::{
    backend::paging::Paging,
    backend::postgres::dialect::DIALECT,
    backend::postgres::encoding::Encoder,
    sql::dialect::Bound,
    sql::table::{Key, Table},
};

impl Paging for Postgres {
    type KeyFacts = ();
    type Place = ();

    fn lock_rows(wait: bool) -> &'static str {
        // FOR UPDATE would make others wait who insert rows that refer to these.
        if wait { " FOR NO KEY UPDATE" } else { " FOR NO KEY UPDATE SKIP LOCKED" }
    }

    fn bound(table: &Table, key: &Key, _: Option<&()>, first: usize, bound: Bound) -> String {
        side_of(table, key, first, bound)
    }

    fn identity(
        _: Option<&()>,
        write: impl FnOnce(&mut Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error> {
        let mut encoder = Encoder::fields();
        write(&mut encoder)?;
        Ok(encoder.into_fields())
    }
}

/// Returns the bound of a key, with NULLs last.
///
/// Where a column can be NULL, rows cannot be compared as a whole: `ORDER BY` puts NULL behind every value, and a comparison says nothing
/// of it.
///
/// Between two values that it does not know, the server expects half a hundredth of a table, and would read and sort all that is there for
/// one page of it. Of rows that it compares as a whole it expects a ninth.
fn side_of(table: &Table, key: &Key, first: usize, bound: Bound) -> String {
    if !key.columns.iter().any(|&column| table.columns[column].nullable) {
        return match (bound, &key.columns[..]) {
            (Bound::End, &[column]) => format!("({}, 0) <= (${first}, 0)", DIALECT.name(table.columns[column].name)),
            _ => DIALECT.key_bound(table, key, first, bound),
        };
    }
    let named = || key.columns.iter().zip(first..).map(|(&column, number)| (column, number));
    let name = |column: usize| DIALECT.name(table.columns[column].name);
    let same = |(column, number)| format!("({0} = ${number} OR ({0} IS NULL AND ${number} IS NULL))", name(column));
    let beyond = |(column, number)| match bound {
        Bound::After => format!("({0} > ${number} OR ({0} IS NULL AND ${number} IS NOT NULL))", name(column)),
        Bound::UpTo | Bound::End => {
            format!("({0} < ${number} OR ({0} IS NOT NULL AND ${number} IS NULL))", name(column))
        }
    };
    let at = |position: usize| {
        named().take(position).map(same).chain(named().nth(position).map(beyond)).collect::<Vec<_>>().join(" AND ")
    };
    let mut ways: Vec<String> = (0..key.columns.len()).map(at).collect();
    if bound != Bound::After {
        ways.push(named().map(same).collect::<Vec<_>>().join(" AND "));
    }
    format!("({})", ways.join(" OR "))
}
