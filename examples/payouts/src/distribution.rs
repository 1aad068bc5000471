//! The month's distribution, in both ways.
//!
//! Both round by the largest remainder: each holder of a debenture gets the whole cents of the exact share, and the cents that are left of the
//! debenture go one each to the holders whose shares lost most by it, of equals to the one with the lower id. So no debenture gains or loses
//! a cent, and nobody is a whole cent away from the exact share.

use std::cmp::Reverse;

use anyhow::{Context as _, Result};
use sqlx::SqlitePool;
use upsertable::Upsertable as _;

use crate::models::{Holder, Holding, Payout, PayoutKey};

/// Distributes the month with a query per row.
///
/// Queries for each debenture get its sum and its holders; those for each holder get what was paid out so far and store the new sum.
pub async fn row_by_row(pool: &SqlitePool, month: &str) -> Result<()> {
    upsertable::transaction(pool, async |tx| {
        for Holder { id, .. } in sqlx::query_as("SELECT * FROM holders ORDER BY id").fetch_all(&mut **tx).await? {
            Payout::upsert(&mut *tx, Payout { holder: id, month: month.to_owned(), cents: 0 }).await?;
        }
        let debentures: Vec<i64> = sqlx::query_scalar("SELECT id FROM debentures").fetch_all(&mut **tx).await?;
        for debenture in debentures {
            let due =
                sqlx::query_scalar("SELECT coalesce(sum(cents), 0) FROM instalments WHERE debenture = ? AND month = ?");
            let due: i64 = due.bind(debenture).bind(month).fetch_one(&mut **tx).await?;
            let holdings = sqlx::query_as("SELECT * FROM holdings WHERE debenture = ? ORDER BY holder");
            let holdings: Vec<Holding> = holdings.bind(debenture).fetch_all(&mut **tx).await?;
            for (holder, share) in shares(due, &holdings) {
                let key = PayoutKey { holder, month: month.to_owned() };
                let payout = Payout::find(&mut *tx, key).await?.context("a holder without a payout")?;
                Payout::upsert(&mut *tx, Payout { cents: payout.cents + share, ..payout }).await?;
            }
        }
        Ok(())
    })
    .await
}

/// The holders' shares of the cents that are due.
fn shares(due: i64, holdings: &[Holding]) -> Vec<(i64, i64)> {
    let units: i64 = holdings.iter().map(|holding| holding.units).sum();
    let mut shares: Vec<_> =
        holdings.iter().map(|h| (h.holder, due * h.units / units, due * h.units % units)).collect();
    let mut left = due - shares.iter().map(|(_, share, _)| share).sum::<i64>();
    shares.sort_by_key(|&(holder, _, remainder)| (Reverse(remainder), holder));
    for (_, share, _) in &mut shares {
        let more = left.min(1);
        *share += more;
        left -= more;
    }
    shares.into_iter().map(|(holder, share, _)| (holder, share)).collect()
}

/// Distributes the month with sums made in the database.
///
/// One bulk upsert stores them: as many statements for ten thousand debentures as for a hundred.
pub async fn in_the_database(pool: &SqlitePool, month: &str) -> Result<()> {
    upsertable::transaction(pool, async |tx| {
        let payouts: Vec<Payout> = sqlx::query_as(SUMS).bind(month).fetch_all(&mut **tx).await?;
        Payout::bulk_upsert(&mut *tx, payouts).await?;
        Ok(())
    })
    .await
}

/// Query that gives a row for each holder.
///
/// Also for those who get nothing: a correction may have taken it away.
const SUMS: &str = "
WITH due AS (
    SELECT debenture, sum(cents) AS cents FROM instalments WHERE month = ?1 GROUP BY debenture
), exact AS (
    SELECT debenture, holder, due.cents AS due, due.cents * units / sum(units) OVER w AS share, due.cents * units % sum(units) OVER w AS remainder
    FROM holdings JOIN due USING (debenture) WINDOW w AS (PARTITION BY debenture)
), ranked AS (
    SELECT holder, share, due - sum(share) OVER (PARTITION BY debenture) AS left_over,
           row_number() OVER (PARTITION BY debenture ORDER BY remainder DESC, holder) AS place
    FROM exact
), sums AS (
    SELECT holder, sum(share + CASE WHEN place <= left_over THEN 1 ELSE 0 END) AS cents FROM ranked GROUP BY holder
)
SELECT holders.id AS holder, ?1 AS month, coalesce(sums.cents, 0) AS cents
FROM holders LEFT JOIN sums ON sums.holder = holders.id ORDER BY holders.id";

/// Stored payouts of the month, in the order of the holders.
pub async fn payouts(pool: &SqlitePool, month: &str) -> Result<Vec<Payout>> {
    let payouts = sqlx::query_as("SELECT * FROM payouts WHERE month = ? ORDER BY holder");
    Ok(payouts.bind(month).fetch_all(pool).await?)
}
