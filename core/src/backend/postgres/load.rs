//! The ways of rows into the staging table.
//!
//! COPY is the fastest for many rows. For few it is not, as over TCP each COPY waits some 40 ms for a delayed acknowledgement: the driver
//! sends its last messages apart and does not turn Nagle's algorithm off. And a COPY that is dropped half-way leaves the connection
//! unusable, so it is for connections that can be closed then.

use std::time::Instant;

use sqlx::{
    Arguments as _, PgConnection, Postgres, Row as _, TypeInfo as _,
    postgres::{PgArguments, PgCopyIn, PgTypeInfo, types::Oid},
};

use crate::{
    backend::postgres::dialect::{MAX_BINDS, StagingPlan},
    backend::postgres::encoding::{Array, Encoder, Fields, are_fields, is_everywhere},
    backend::postgres::stage_statements,
    connection::link::Link,
    connection::savepoint_guard::{Guarding, SavepointGuard},
    error::Error,
    error::classify::is_connection_lost,
    error::finding::account_for,
    error::postgres::database_error,
    feed::source::Failure,
    feed::{Chunk, RowFeed},
    sql::statement::Statement,
    sql::text::Sql,
    trace::statement_log,
};

/// Rows of one statement where they travel as arrays.
///
/// More than one such statement are slower than a COPY.
pub(super) const ARRAY_ROWS: usize = 10_000;

/// Bytes of one statement or message.
///
/// They are limited so that long values do not pile up.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of one message of a COPY.
const COPY_BYTES: usize = 1 << 18;

/// Rows of one statement where each value is bound by itself.
///
/// [`MAX_BINDS`] is the most values that a statement can carry.
const VALUES_ROWS: usize = 1_000;

pub(super) async fn fill(
    link: &mut Link<'_, Postgres>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, Postgres>,
) -> Result<(), Failure> {
    if are_fields(&stage.types) {
        fill_by_arrays(link, stage, feed).await?;
    } else {
        fill_by_values(link, stage, feed).await?;
    }
    Ok(())
}

/// Takes the rows of one statement of arrays from the feed.
pub(super) async fn next_for_arrays(feed: &mut RowFeed<'_, Postgres>) -> Result<Option<Chunk<Postgres>>, Failure> {
    feed.chunk_while(|chunk| chunk.rows < ARRAY_ROWS && chunk.values.bytes() < CHUNK_BYTES).await
}

async fn fill_by_arrays(
    link: &mut Link<'_, Postgres>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, Postgres>,
) -> Result<(), Failure> {
    feed.note_way("stage");
    let text = stage_statements::stage_arrays(stage);
    while let Some(chunk) = next_for_arrays(feed).await? {
        if can_copy(link) && feed.has_more().await? {
            return copy(link, stage, feed, Some(chunk)).await;
        }
        let mut arguments = arrays(stage, &chunk)?;
        // The server numbers the rows of an array from 1.
        arguments.add(sent(feed) - 1).map_err(sqlx::Error::Encode)?;
        let staged = link.execute(Statement::once(&text, arguments)).await?;
        account_for("staged", chunk.rows as u64, staged)?;
        feed.note_sent(chunk.rows);
    }
    Ok(())
}

/// Returns one array for each column.
pub(super) fn arrays(stage: &StagingPlan, chunk: &Chunk<Postgres>) -> Result<PgArguments, sqlx::Error> {
    let elements: Vec<Oid> = stage.types.iter().map(|kind| kind.oid().unwrap_or_default()).collect();
    let mut arguments = PgArguments::default();
    if let Encoder::Fields(fields) = &chunk.values {
        arguments.reserve(elements.len(), Array::HEAD_BYTES * elements.len() + chunk.values.bytes());
        for array in Array::columns(fields, &elements, chunk.rows) {
            arguments.add(array).map_err(sqlx::Error::Encode)?;
        }
    }
    Ok(arguments)
}

fn sent(feed: &RowFeed<'_, Postgres>) -> i64 {
    i64::try_from(feed.sent()).unwrap_or(i64::MAX)
}

/// Stages rows whose types only this server has.
///
/// Their values are bound by the driver, which asks the server about them. Where it turns out that a COPY takes them too, it takes the
/// rest.
async fn fill_by_values(
    link: &mut Link<'_, Postgres>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, Postgres>,
) -> Result<(), Failure> {
    let full = ((MAX_BINDS - 1) / stage.columns.len().max(1)).clamp(1, VALUES_ROWS);
    feed.note_way("values");
    while let Some(Chunk { rows, values }) = feed.chunk(full).await? {
        let first = feed.sent() == 0;
        let mut arguments = values.arguments();
        arguments.add(sent(feed)).map_err(sqlx::Error::Encode)?;
        let text = stage_statements::stage_values(stage, rows);
        let staged = if first {
            // For the driver may have to ask for types inside the values, after which the server knows a statement that runs once no more.
            stage_knowing_types(link, &text, arguments).await?
        } else {
            link.execute(Statement::once(&text, arguments)).await?
        };
        account_for("staged", rows as u64, staged)?;
        feed.note_sent(rows);
        if first && rows == full && can_copy(link) && can_copy_types(link, &stage.types).await? {
            feed.write_with(Encoder::fields);
            if feed.has_more().await? {
                return copy(link, stage, feed, None).await;
            }
        }
    }
    Ok(())
}

async fn stage_knowing_types(
    link: &mut Link<'_, Postgres>,
    text: &Sql,
    arguments: PgArguments,
) -> Result<u64, sqlx::Error> {
    let guard = SavepointGuard::begin(link, Guarding::Transaction).await?;
    let outcome = guard.link.execute(Statement::once(text, arguments.clone())).await;
    match guard.end(outcome).await {
        Err(error) if database_error(&error).is_some_and(|error| error.code() == "26000") => {
            link.execute(Statement::once(text, arguments)).await
        }
        outcome => outcome,
    }
}

fn can_copy(link: &Link<'_, Postgres>) -> bool {
    !matches!(link, Link::Bare(_))
}

/// Tests if a COPY takes the driver's encoding of these types.
///
/// Of what only the server knows, arrays and rows have numbers of types inside them, which the driver fills in only for values that it
/// binds.
async fn can_copy_types(link: &mut Link<'_, Postgres>, types: &[PgTypeInfo]) -> Result<bool, sqlx::Error> {
    let mut names: Vec<String> =
        types.iter().filter(|kind| !is_everywhere(kind)).map(|kind| kind.name().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    let wanted = names.len();
    let mut arguments = PgArguments::default();
    arguments.add(names).map_err(sqlx::Error::Encode)?;
    let rows = link.fetch(Statement::cached(&stage_statements::scalar_types(), arguments)).await?;
    let scalars: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(scalars) == Ok(wanted))
}

const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

async fn copy(
    link: &mut Link<'_, Postgres>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, Postgres>,
    first: Option<Chunk<Postgres>>,
) -> Result<(), Failure> {
    let text = stage_statements::copy(stage);
    statement_log::record(&text);
    feed.note_way("copy");
    let (before, bytes, start) = (feed.sent(), feed.sent_bytes(), Instant::now());
    let (streamed, finished) = copy_on(link.raw(), &text, stage.columns.len(), feed, first).await;
    let (rows, bytes, elapsed) = (feed.sent() - before, feed.sent_bytes() - bytes, start.elapsed().as_secs_f64());
    tracing::debug!(target: "upsertable", sql = text, rows, bytes, elapsed, "COPY into the staging table");
    let lost = finished.as_ref().is_err_and(is_connection_lost);
    let finished = link.track_result(finished);
    match streamed {
        Err(failure) if !lost => Err(failure),
        _ => Ok(account_for("copied", feed.sent() - before, finished?)?),
    }
}

/// Runs a COPY; returns the outcomes of its rows and itself.
async fn copy_on(
    conn: &mut PgConnection,
    text: &str,
    width: usize,
    feed: &mut RowFeed<'_, Postgres>,
    first: Option<Chunk<Postgres>>,
) -> (Result<(), Failure>, Result<u64, sqlx::Error>) {
    let mut copy = match conn.copy_in_raw(text).await {
        Ok(copy) => copy,
        Err(error) => return (Ok(()), Err(error)),
    };
    let streamed = stream(&mut copy, width, feed, first).await;
    // Also after a failure of the caller's: what arrived is dropped with the table, while a COPY that is broken off can leave the server's
    // answers where nobody reads them.
    (streamed, copy.finish().await)
}

async fn stream(
    copy: &mut PgCopyIn<&mut PgConnection>,
    width: usize,
    feed: &mut RowFeed<'_, Postgres>,
    first: Option<Chunk<Postgres>>,
) -> Result<(), Failure> {
    let mut message = COPY_HEADER.to_vec();
    let mut next = first;
    loop {
        let chunk = match next.take() {
            Some(chunk) => Some(chunk),
            None => feed.chunk_while(|chunk| chunk.values.bytes() < COPY_BYTES).await?,
        };
        let Some(Chunk { rows, values: Encoder::Fields(fields) }) = chunk else { return Ok(()) };
        push_rows(&mut message, &fields, width, sent(feed))?;
        copy.send(message.as_slice()).await?;
        message.clear();
        feed.note_sent(rows);
    }
}

/// Appends rows to a message of a COPY.
///
/// Each row is the number of its fields, then the fields; the first is the row's own number.
fn push_rows(message: &mut Vec<u8>, fields: &Fields, width: usize, first: i64) -> Result<(), Error> {
    const NUMBER_BYTES: i32 = 8;
    let count = i16::try_from(width + 1).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut number = first;
    for (position, field) in fields.iter().enumerate() {
        if position % width.max(1) == 0 {
            message.extend(count.to_be_bytes());
            message.extend(NUMBER_BYTES.to_be_bytes());
            message.extend(number.to_be_bytes());
            number += 1;
        }
        message.extend_from_slice(field);
    }
    Ok(())
}
