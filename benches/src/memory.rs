//! Memory growth of the process while it streams rows.

use std::fs;

use anyhow::{Context as _, Result};
use futures_util::stream;
use upsertable::{On, Upsertable as _};

use crate::{
    rows,
    server::Server,
    workload::{
        Bind,
        retweets::{NewRetweet, Retweet},
    },
};

const ROWS: u64 = 10_000_000;
const LIMIT_MIB: u64 = 64;

/// Fails when the process has grown by more than [`LIMIT_MIB`].
pub async fn run<S: Server>(server: &S) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
    Retweet: On<S::Database>,
{
    server.seed::<NewRetweet>(&[]).await?;
    // Memory that the driver and the allocator keep from any call is not growth.
    Retweet::bulk_create_new_stream(server.pool(), stream::iter((0..10_000).map(rows::retweet))).await?;
    let (before, _) = resident()?;
    let done = Retweet::bulk_create_new_stream(server.pool(), stream::iter((0..ROWS).map(rows::retweet))).await?;
    let (_, most) = resident()?;
    let grown = most.saturating_sub(before) / 1024;
    println!("{}: {done}; the process grew from {} MiB by {grown} MiB at most", server.version().await?, before / 1024);
    anyhow::ensure!(grown <= LIMIT_MIB, "more than {LIMIT_MIB} MiB");
    Ok(())
}

/// Memory of this process, now and at its peak, in KiB.
fn resident() -> Result<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = |name| {
        let line = status.lines().find(|line| line.starts_with(name)).context(name)?;
        line.split_whitespace().nth(1).context(name)?.parse::<u64>().context(name)
    };
    Ok((kib("VmRSS:")?, kib("VmHWM:")?))
}
