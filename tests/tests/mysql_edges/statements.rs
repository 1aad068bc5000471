//! Texts of the statements.

use upsertable::{Upsertable as _, testing::statements};

use crate::{CALLS, PEOPLE, Person, call, person, run, with_tables};

/// No statement names a temporary table twice.
///
/// MySQL refuses one that does; MariaDB does not, so it is counted here.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_names_a_temporary_table_twice() {
    let db = with_tables(1, &[PEOPLE]).await;
    let mut seen = Vec::new();
    for name in CALLS {
        run(&db.pool, "DELETE FROM people").await;
        Person::get_or_create(&db.pool, person("known", 1)).await.unwrap();
        seen.extend(statements(call(name, &db.pool)).await.1);
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Person::after_commit(&mut tx, async |_| {});
        seen.extend(statements(call(name, &mut tx)).await.1);
        tx.rollback().await.unwrap();
    }
    for table in ["`upsertable_staged`", "`upsertable_made`"] {
        let names = |sql: &&String| sql.matches(table).count();
        assert!(seen.iter().any(|sql| names(&sql) == 1), "{seen:#?}");
        for sql in &seen {
            assert!(names(&sql) < 2, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_commits_unasked_or_hides_what_is_wrong_with_a_row() {
    let db = with_tables(1, &[PEOPLE]).await;
    for name in CALLS {
        let (outcome, seen) = statements(call(name, &db.pool)).await;
        outcome.unwrap();
        for sql in &seen {
            for word in ["TRUNCATE", "IGNORE", "ON DUPLICATE", "CREATE INDEX", "ALTER", "LAST_INSERT_ID", "REPLACE"] {
                assert!(!sql.contains(word), "{sql}");
            }
            assert!(!sql.contains("CREATE TABLE") && !sql.contains("DROP TABLE"), "{sql}");
        }
    }
}
