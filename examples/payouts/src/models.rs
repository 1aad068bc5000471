//! The tables, and books of any size to fill them with.

use sqlx::SqlitePool;
use upsertable::{Error, Outcome, Upsertable};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "debentures")]
#[unique(code)]
pub struct Debenture {
    #[upsertable(generated)]
    pub id: i64,
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "holders")]
#[unique(name)]
pub struct Holder {
    #[upsertable(generated)]
    pub id: i64,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "holdings")]
#[unique(debenture, holder)]
pub struct Holding {
    pub debenture: i64,
    pub holder: i64,
    pub units: i64,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "instalments")]
#[unique(debenture, month, kind)]
pub struct Instalment {
    pub debenture: i64,
    pub month: String,
    pub kind: String,
    pub cents: i64,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "payments")]
#[unique(debenture, number)]
pub struct Payment {
    pub debenture: i64,
    pub number: i64,
    pub cents: i64,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "payouts")]
#[unique(holder, month)]
pub struct Payout {
    pub holder: i64,
    pub month: String,
    pub cents: i64,
}

/// Amounts of data to make.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub debentures: i64,
    pub holders: i64,
    pub holders_of_each: i64,
    pub months: i64,
    pub payments: i64,
}

/// Adds missing rows, up to this size.
///
/// The numbers look like chance and are always the same.
pub async fn fill(pool: &SqlitePool, size: Size) -> Result<(), Error> {
    let names = (0..size.holders).map(|number| NewHolder { name: format!("holder {number:04}") });
    let holders: Vec<i64> = ids(&Holder::bulk_get_or_create(pool, names).await?, |holder| holder.id);
    let codes = (0..size.debentures).map(|number| NewDebenture { code: format!("DEB{number:06}") });
    let debentures: Vec<i64> = ids(&Debenture::bulk_get_or_create(pool, codes).await?, |debenture| debenture.id);

    let holdings = debentures.iter().zip(0..).flat_map(|(&debenture, number)| {
        // Neighbours in a debenture are neighbours in no other, and each comes once: the holders are taken in steps of one.
        let first = scattered(number, size.holders);
        let holders = holders.iter().cycle().skip(usize::try_from(first).unwrap_or_default());
        holders.zip(0..size.holders_of_each.min(size.holders)).map(move |(&holder, place)| Holding {
            debenture,
            holder,
            units: 1 + scattered(number * 31 + place, 997),
        })
    });
    Holding::bulk_create_new(pool, holdings).await?;

    let instalments = debentures.iter().zip(0..).flat_map(|(&debenture, number)| {
        (0..size.months).flat_map(move |month| {
            let kinds = [("interest", 90_001), ("principal", 1_000_003)];
            // Principal falls due every third month only, so that the sums differ from month to month.
            let kinds = kinds.into_iter().filter(move |(kind, _)| *kind == "interest" || (month + number) % 3 == 0);
            kinds.map(move |(kind, most)| Instalment {
                debenture,
                month: month_name(month),
                kind: kind.to_owned(),
                cents: scattered(number * 53 + month, most),
            })
        })
    });
    Instalment::bulk_create_new(pool, instalments).await?;

    let payments = debentures.iter().zip(0..).flat_map(|(&debenture, number)| {
        let cents = move |payment| scattered(number * 71 + payment, 50_021);
        (0..size.payments).map(move |payment| Payment { debenture, number: payment, cents: cents(payment) })
    });
    Payment::bulk_create_new(pool, payments).await?;
    Ok(())
}

fn ids<M>(rows: &[Outcome<M>], id: fn(&M) -> i64) -> Vec<i64> {
    rows.iter().map(|outcome| id(&outcome.row)).collect()
}

/// Name of a month, of which the first is January 2026.
fn month_name(month: i64) -> String {
    format!("{}-{:02}", 2026 + month / 12, 1 + month % 12)
}

/// A number from 0 to below `end`, scattered.
///
/// It jumps about as `number` goes up.
fn scattered(number: i64, end: i64) -> i64 {
    (number.wrapping_mul(0x5DEE_CE66D).wrapping_add(11) >> 8).rem_euclid(end.max(1))
}
