//! B11: a server that counts otherwise than what it was sent.

use upsertable::{Error, Upsertable as _};

use crate::{
    NewPerson, PEOPLE, Person, assert_clean, number, person,
    proxy::{Lie, Proxy},
    run, with_tables,
};

/// Different rows, of which some are there.
fn rows() -> Vec<NewPerson> {
    (0..40).map(|n| person(&n.to_string(), 7)).collect()
}

async fn call(name: &str, proxy: &Proxy, in_transaction: bool) -> Result<(), Error> {
    let pool = &proxy.pool;
    if !in_transaction {
        return match name {
            "bulk_get_or_create" => Person::bulk_get_or_create(pool, rows()).await.map(drop),
            _ => Person::bulk_upsert(pool, rows()).await.map(drop),
        };
    }
    let mut tx = upsertable::begin(pool).await?;
    let done = match name {
        "bulk_create_new" => Person::bulk_create_new(&mut tx, rows()).await.map(drop),
        "bulk_get_or_create" => Person::bulk_get_or_create(&mut tx, rows()).await.map(drop),
        _ => Person::bulk_upsert(&mut tx, rows()).await.map(drop),
    };
    tx.commit().await?;
    done
}

/// Rows that are counted otherwise are an error, at each statement.
///
/// What is counted in no other way, as the rows of a merge that marks none, is not here.
#[tokio::test(flavor = "multi_thread")]
async fn b11_rows_that_are_counted_otherwise_are_an_error_and_nothing_is_kept() {
    let db = with_tables(1, &[PEOPLE]).await;
    let proxy = Proxy::before(&db).await;
    for (name, in_transaction) in [
        ("bulk_create_new", true),
        ("bulk_get_or_create", true),
        ("bulk_upsert", true),
        ("bulk_get_or_create", false),
        ("bulk_upsert", false),
    ] {
        for lie in [Lie::OneFewer, Lie::OneLost] {
            // Rows that a SELECT gives are read back by this call alone.
            if lie == Lie::OneLost && name != "bulk_get_or_create" {
                continue;
            }
            let mut miscounted = 0;
            for step in 1.. {
                run(&db.outside, "DELETE FROM people").await;
                run(&db.outside, "INSERT INTO people (email, age, about) VALUES ('3', 1, ''), ('5', 1, '')").await;
                let when = format!("{name}, in a transaction: {in_transaction}, {lie:?} at {step}");
                proxy.lie(step, lie);
                let outcome = call(name, &proxy, in_transaction).await;
                let (came, told) = proxy.told();
                let total = number(&db.outside, "SELECT count(*) FROM people").await;
                let changed = number(&db.outside, "SELECT count(*) FROM people WHERE age = 7").await;
                match &outcome {
                    Ok(()) => assert_eq!((total, changed), (40, if name == "bulk_upsert" { 40 } else { 38 }), "{when}"),
                    Err(error) => {
                        assert!(told, "{when}: {error}");
                        assert_eq!((total, changed), (2, 0), "{when}: {error}");
                        miscounted += u32::from(error.to_string().contains("nothing of the call is kept"));
                    }
                }
                assert_clean(&mut proxy.pool.acquire().await.unwrap(), &when).await;
                if !came {
                    break;
                }
            }
            assert!(miscounted > 0, "{name}, in a transaction: {in_transaction}: {lie:?}: no error says so");
        }
    }
}
