//! Conflicts that end a statement and leave its transaction open.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use upsertable::{Error, TransactionOptions, Upsertable as _};

use crate::{CALLS, PEOPLE, Person, call, person, run, with_tables};

/// A lock that is not given in time is tried again.
///
/// A call has waited too long for it: the transaction it ran in is begun anew, though it goes on after the error.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_given_in_time_is_tried_again() {
    for name in CALLS.into_iter().filter(|name| !name.starts_with("find")) {
        let db = with_tables(3, &[PEOPLE]).await;
        Person::get_or_create(&db.pool, person("known", 1)).await.unwrap();
        let mut holder = upsertable::begin(&db.pool).await.unwrap();
        Person::get_or_create(&mut holder, person("new", 1)).await.unwrap();
        sqlx::query("SELECT id FROM people FOR UPDATE").fetch_all(&mut *holder).await.unwrap();
        let (holder, tries) = (Mutex::new(Some(holder)), AtomicU32::new(0));
        let work = TransactionOptions::new().attempts(2).run(&db.pool, async |tx| {
            sqlx::query("SET SESSION innodb_lock_wait_timeout = 1").execute(&mut **tx).await?;
            let released = match tries.fetch_add(1, Ordering::Relaxed) {
                0 => None,
                _ => holder.lock().unwrap().take(),
            };
            if let Some(holder) = released {
                holder.commit().await?;
            }
            call(name, tx).await
        });
        work.await.unwrap_or_else(|error: Error| panic!("{name}: {error}"));
        assert_eq!(tries.load(Ordering::Relaxed), 2, "{name}");
        run(&db.pool, "DELETE FROM people").await;
    }
}
