//! Fills the staging table.

use futures_util::future::{join, lazy};
use sqlx::MySql;

use crate::{
    backend::mysql::dialect::{CHUNK_BYTES, CHUNK_ROWS, MAX_BINDS, STATEMENT_OVERHEAD, StagingPlan},
    backend::mysql::key_order::Keys,
    backend::mysql::stage_statements,
    connection::link::Link,
    error::finding::account_for,
    feed::source::Failure,
    feed::{Chunk, RowFeed},
    sql::statement::Statement,
};

pub(super) async fn fill(
    link: &mut Link<'_, MySql>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, MySql>,
) -> Result<(), Failure> {
    feed.note_way("stage");
    let width = stage.columns.len();
    let full = (MAX_BINDS / (width + 1)).clamp(1, CHUNK_ROWS);
    let packet = stage.notes.get().map_or(CHUNK_BYTES, |found| found.packet).saturating_sub(STATEMENT_OVERHEAD);
    let wanted = packet.min(CHUNK_BYTES);
    let mut full_text = None;
    let mut staged = 0;
    let mut keys = Keys::new(stage);
    let fits = |chunk: &Chunk<MySql>| chunk.rows < full && chunk.values.size() < wanted;
    while let Some(Chunk { rows: chunk_rows, values }) = feed.chunk_while(fits).await? {
        // Before its last row the chunk was small enough; a row that is too large beside others may go alone.
        let alone = usize::from(values.size() > packet && chunk_rows > 1);
        let (mut start, mut added) = (0, false);
        for rows in parts(chunk_rows - alone, full).chain(parts(alone, full)) {
            let arguments = values.numbered(start..start + rows, width, staged).map_err(sqlx::Error::Encode)?;
            let text = match &full_text {
                Some(text) if rows == full => text,
                _ => &stage_statements::stage_rows(stage, rows),
            };
            // While the server works on them. The next rows are not read then: their source may panic, and would leave the connection in
            // the middle of a statement.
            let meanwhile = lazy(|_| {
                if !std::mem::replace(&mut added, true) {
                    keys.add(&values, chunk_rows, width);
                }
            });
            let sent = join(link.execute(Statement::cached(text, arguments)), meanwhile).await.0?;
            account_for("staged", rows as u64, sent)?;
            if rows == full && full_text.is_none() {
                full_text = Some(text.clone());
            }
            staged += i64::try_from(rows).unwrap_or(0);
            start += rows;
        }
        feed.note_sent(chunk_rows);
    }
    if let Some(found) = stage.notes.get() {
        found.note_order(keys.order());
    }
    Ok(())
}

/// Splits a number of rows into parts of few different sizes.
///
/// So their statements stay prepared. The sizes are `full`, and powers of two.
///
/// To prepare a statement, run it and close it costs 40 ms over TCP: the server does not answer the closing, so it acknowledges it late,
/// and the driver's next packet waits for that (Nagle's algorithm, which sqlx leaves on).
pub(super) fn parts(rows: usize, full: usize) -> impl Iterator<Item = usize> {
    let largest = move |left: usize| match left {
        0 => None,
        _ if left >= full => Some(full),
        _ => Some(1 << left.ilog2()),
    };
    let mut left = rows;
    std::iter::from_fn(move || {
        let part = largest(left)?;
        left -= part;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_few_sizes_and_make_the_whole() {
        for rows in 0..5_000 {
            let parts: Vec<usize> = parts(rows, 1_000).collect();
            assert_eq!(parts.iter().sum::<usize>(), rows);
            assert!(parts.iter().all(|part| *part == 1_000 || (*part < 1_000 && part.is_power_of_two())), "{parts:?}");
        }
    }
}
