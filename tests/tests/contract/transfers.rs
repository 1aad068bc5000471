//! Money that is moved by many at once.
//!
//! None is lost, none is made, and each callback runs once for what was really moved.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::Pool;
use tokio::task::JoinSet;
use upsertable::{Error, Isolation, Transaction, TransactionOptions, Upsertable};

use super::{CALLERS, Db, Fixture};

const ACCOUNTS: i64 = 10;
const TRANSFERS: i64 = 10_000;
const AT_FIRST: i64 = 1_000;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "balances")]
#[unique(account)]
struct Balance {
    account: i64,
    cents: i64,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "transfers")]
#[unique(number)]
struct Transfer {
    number: i64,
    giver: i64,
    taker: i64,
    cents: i64,
    done: i64,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the giver has not that much")]
    Funds,
    #[error(transparent)]
    Database(#[from] Error),
}

impl Transfer {
    /// Makes the transfer with this number.
    ///
    /// The number decides who pays whom and how much: in no order, and the same each time.
    fn of(number: i64) -> Self {
        let chance = number.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F) >> 33 & 0xFFFF;
        let giver = chance % ACCOUNTS;
        let taker = (giver + 1 + chance / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
        Self { number, giver, taker, cents: 1 + chance % 700, done: 0 }
    }

    /// Moves the money, by reads and then writes of both balances.
    ///
    /// So another transaction in between makes them wrong.
    async fn make(&self, tx: &mut Transaction<Db>, told: &Arc<Vec<AtomicU32>>) -> Result<(), Refused> {
        let (told, position) = (Arc::clone(told), usize::try_from(self.number).unwrap());
        tx.on_commit(async move {
            told[position].fetch_add(1, Ordering::SeqCst);
        });
        assert!(!Self::upsert(&mut *tx, Self { done: 1, ..self.clone() }).await?.created);
        let giver = Balance::find(&mut *tx, BalanceKey { account: self.giver }).await?.expect("an account stays");
        let taker = Balance::find(&mut *tx, BalanceKey { account: self.taker }).await?.expect("an account stays");
        let left = giver.cents - self.cents;
        if left < 0 {
            return Err(Refused::Funds);
        }
        Balance::upsert(&mut *tx, Balance { account: self.giver, cents: left }).await?;
        Balance::upsert(&mut *tx, Balance { account: self.taker, cents: taker.cents + self.cents }).await?;
        Ok(())
    }
}

/// Makes transfers until there are no more, and counts those refused.
async fn call(pool: Pool<Db>, next: Arc<AtomicI64>, told: Arc<Vec<AtomicU32>>) -> i64 {
    let options = TransactionOptions::new()
        .isolation(Isolation::Serializable)
        .attempts(10_000)
        .backoff(Duration::from_millis(1), Duration::from_millis(50));
    let mut refused = 0;
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= TRANSFERS {
            return refused;
        }
        let transfer = Transfer::of(number);
        match options.clone().run(&pool, async |tx: &mut Transaction<Db>| transfer.make(tx, &told).await).await {
            Ok(()) => {}
            Err(Refused::Funds) => refused += 1,
            Err(Refused::Database(error)) => panic!("transfer {number}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_contended_transfers_keep_the_sum_and_call_back_once_for_each_that_was_committed() {
    let db = Fixture::new().await;
    let (balances, transfers) = (
        "account BIGINT NOT NULL, cents BIGINT NOT NULL CHECK (cents >= 0), UNIQUE (account)",
        "number BIGINT NOT NULL, giver BIGINT NOT NULL, taker BIGINT NOT NULL, cents BIGINT NOT NULL, done BIGINT NOT NULL, \
         UNIQUE (number)",
    );
    db.run(&format!("CREATE TABLE balances ({balances})")).await;
    db.run(&format!("CREATE TABLE transfers ({transfers})")).await;
    let opening = (0..ACCOUNTS).map(|account| Balance { account, cents: AT_FIRST });
    assert_eq!(Balance::bulk_create_new(&db.pool, opening).await.unwrap().created, 10);
    // They are there before they are done, as a row at the end of a table is a place that all would wait for.
    Transfer::bulk_create_new(&db.pool, (0..TRANSFERS).map(Transfer::of)).await.unwrap();

    let told: Arc<Vec<AtomicU32>> = Arc::new((0..TRANSFERS).map(|_| AtomicU32::new(0)).collect());
    let next = Arc::new(AtomicI64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(db.pool.clone(), Arc::clone(&next), Arc::clone(&told)));
    }
    let refused: i64 = callers.join_all().await.into_iter().sum();

    let committed = db.numbers("SELECT number FROM transfers WHERE done = 1 ORDER BY 1").await;
    let callbacks: Vec<u32> = told.iter().map(|times| times.load(Ordering::SeqCst)).collect();
    let expected: Vec<u32> = (0..TRANSFERS).map(|number| u32::from(committed.binary_search(&number).is_ok())).collect();
    assert!(callbacks == expected, "a callback has not run once for its committed transfer, or for one that was not");
    assert_eq!(committed.len() as i64 + refused, TRANSFERS);
    assert!(refused > 0 && committed.len() as i64 > TRANSFERS / 2, "{refused} refused");

    let mut balances = vec![AT_FIRST; usize::try_from(ACCOUNTS).unwrap()];
    for transfer in committed.into_iter().map(Transfer::of) {
        balances[usize::try_from(transfer.giver).unwrap()] -= transfer.cents;
        balances[usize::try_from(transfer.taker).unwrap()] += transfer.cents;
    }
    assert_eq!(db.numbers("SELECT cents FROM balances ORDER BY account").await, balances);
    assert_eq!(db.numbers("SELECT cents FROM balances").await.iter().sum::<i64>(), ACCOUNTS * AT_FIRST);
}
