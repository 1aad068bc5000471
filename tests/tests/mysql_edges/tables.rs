//! Collations, indexes, modes and storage engines.

use sqlx::Executor as _;
use upsertable::{Error, Upsertable};

use crate::{CALLS, PEOPLE, Person, by_email, call, number, person, run, with_tables};

/// Keys are compared as their column compares them.
///
/// Text in the connection's collation meets columns of every other.
#[tokio::test(flavor = "multi_thread")]
async fn r6_keys_are_compared_as_their_column_compares_whatever_its_collation() {
    let collations = [
        ("utf8mb4_unicode_ci", true, true),
        ("utf8mb4_general_ci", true, true),
        ("utf8mb4_bin", false, true),
        ("latin1_swedish_ci", true, true),
        ("latin1_bin", false, true),
        ("utf8mb3_general_ci", true, true),
    ];
    for (collation, any_case, pads) in collations {
        let charset = collation.split('_').next().unwrap();
        let table = PEOPLE.replace("VARCHAR(10)", &format!("VARCHAR(10) CHARACTER SET {charset} COLLATE {collation}"));
        let db = with_tables(1, &[&table]).await;
        let first = Person::get_or_create(&db.pool, person("Äbc", 1)).await.unwrap();
        assert!(first.created);
        let others = [("äbc", any_case), ("Äbc ", pads), ("other", false)];
        for (email, same) in others {
            let found = Person::find(&db.pool, by_email(email)).await.unwrap();
            assert_eq!(found.is_some(), same, "{collation}: {email:?}");
            let found = Person::find_all(&db.pool, [by_email(email), by_email("Äbc")]).await.unwrap();
            assert_eq!((found[0].is_some(), found[1].is_some()), (same, true), "{collation}: {email:?}");
        }
        let rows = ["äbc", "Äbc ", "new", "NEW", "new "].map(|email| person(email, 2));
        let outcomes = Person::bulk_get_or_create(&db.pool, rows.clone()).await.unwrap();
        let created: Vec<bool> = outcomes.iter().map(|outcome| outcome.created).collect();
        assert_eq!(created, [!any_case, !pads, true, !any_case, !pads], "{collation}");
        let updated = Person::bulk_upsert(&db.pool, rows.clone()).await.unwrap();
        assert_eq!(updated.created, 0, "{collation}");
        assert_eq!(Person::bulk_create_new(&db.pool, rows).await.unwrap().created, 0, "{collation}");
    }
}

/// A key that does not fit is an error in every row.
///
/// A temporary table without transactions would cut it from a statement's second row on.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_key_that_does_not_fit_is_an_error_in_every_row() {
    let db = with_tables(1, &[PEOPLE]).await;
    for place in [0, 1, 50, 3_000] {
        let rows = (0..3_500).map(|n| if n == place { person("eleven char", 1) } else { person(&n.to_string(), 1) });
        for name in ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
            let rows: Vec<_> = rows.clone().collect();
            let error = match name {
                "bulk_create_new" => Person::bulk_create_new(&db.pool, rows).await.map(drop),
                "bulk_get_or_create" => Person::bulk_get_or_create(&db.pool, rows).await.map(drop),
                _ => Person::bulk_upsert(&db.pool, rows).await.map(drop),
            };
            assert!(matches!(error.unwrap_err(), Error::Sql(_)), "{name} {place}");
            assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, 0, "{name} {place}");
        }
    }
}

/// An index that does not keep the key unique does not count.
///
/// Such are one on the first characters of a column, one that is not unique, and one on more columns.
#[tokio::test(flavor = "multi_thread")]
async fn b8_an_index_that_does_not_keep_the_key_unique_does_not_count() {
    let bare = PEOPLE.replace(" UNIQUE", "");
    for index in ["", "UNIQUE INDEX i (email(4))", "INDEX i (email)", "UNIQUE INDEX i (email, age)"] {
        let db = with_tables(1, &[&bare]).await;
        if !index.is_empty() {
            run(&db.pool, &format!("ALTER TABLE people ADD {index}")).await;
        }
        run(&db.pool, "INSERT INTO people (email, age, about) VALUES ('known', 1, '')").await;
        for name in CALLS.into_iter().skip(2) {
            let error = call(name, &db.pool).await.expect_err(index);
            assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{name}, {index}: {error}");
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            let error = call(name, &mut tx).await.expect_err(index);
            assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{name}, {index}: {error}");
            tx.commit().await.unwrap();
        }
        let known = "SELECT count(*) FROM people WHERE email = 'known' AND age = 1";
        assert_eq!((number(&db.pool, known).await, number(&db.pool, "SELECT count(*) FROM people").await), (1, 1));
    }
}

/// An index that is dropped later is missed.
///
/// It can go while a connection has its statements prepared.
#[tokio::test(flavor = "multi_thread")]
async fn b8_an_index_that_is_dropped_later_is_missed() {
    let db = with_tables(1, &[PEOPLE]).await;
    for name in CALLS.into_iter().skip(2) {
        call(name, &db.pool).await.unwrap();
        run(&db.outside, "ALTER TABLE people DROP INDEX email").await;
        run(&db.outside, "DELETE FROM people WHERE email = 'new'").await;
        let error = call(name, &db.pool).await.unwrap_err();
        assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{name}: {error}");
        run(&db.outside, "ALTER TABLE people ADD UNIQUE INDEX email (email)").await;
    }
}

/// An index replaced by one of its name is missed.
///
/// What was seen of an index a moment ago is not taken on trust: one of its name that is not unique, or on another column, is none.
#[tokio::test(flavor = "multi_thread")]
async fn b8_an_index_that_is_replaced_by_one_of_its_name_is_missed() {
    let db = with_tables(1, &[PEOPLE]).await;
    for other in ["INDEX email (email)", "UNIQUE INDEX email (email, age)", "UNIQUE INDEX email (id)"] {
        for name in CALLS.into_iter().skip(2) {
            run(&db.pool, "DELETE FROM people").await;
            call(name, &db.pool).await.unwrap();
            run(&db.outside, &format!("ALTER TABLE people DROP INDEX email, ADD {other}")).await;
            run(&db.outside, "DELETE FROM people WHERE email = 'new'").await;
            let left = number(&db.pool, "SELECT COUNT(*) FROM people").await;
            let error = call(name, &db.pool).await.unwrap_err();
            assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{name}, {other}: {error}");
            assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM people").await, left, "{name}, {other}");
            run(&db.outside, "ALTER TABLE people DROP INDEX email, ADD UNIQUE INDEX named_otherwise (email)").await;
            call(name, &db.pool).await.unwrap_or_else(|error| panic!("{name}, {other}: {error}"));
            run(&db.outside, "ALTER TABLE people RENAME INDEX named_otherwise TO email").await;
            call(name, &db.pool).await.unwrap_or_else(|error| panic!("{name}, {other}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_work_in_every_mode_of_sql() {
    let modes = [
        "",
        "ANSI",
        "ANSI_QUOTES",
        "TRADITIONAL",
        "NO_BACKSLASH_ESCAPES",
        "NO_AUTO_VALUE_ON_ZERO",
        "ONLY_FULL_GROUP_BY",
        "STRICT_ALL_TABLES",
        "PAD_CHAR_TO_FULL_LENGTH",
    ];
    for mode in modes {
        let db = with_tables(1, &[PEOPLE]).await;
        run(&db.pool, &format!("SET SESSION sql_mode = '{mode}'")).await;
        for name in CALLS {
            run(&db.pool, "DELETE FROM people").await;
            Person::get_or_create(&db.pool, person("known", 1)).await.unwrap();
            call(name, &db.pool).await.unwrap_or_else(|error| panic!("{mode}: {name}: {error}"));
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            call(name, &mut tx).await.unwrap_or_else(|error| panic!("{mode}: {name}: {error}"));
            tx.commit().await.unwrap();
        }
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "upsertable_staged")]
#[unique(k)]
struct Staged {
    k: i64,
    v: String,
}

/// A table may have the name of the staging table.
///
/// A temporary table would hide it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_have_the_name_of_the_staging_table() {
    let db = with_tables(1, &["CREATE TABLE upsertable_staged (k BIGINT PRIMARY KEY, v LONGTEXT NOT NULL)"]).await;
    let rows = || (0..10).map(|k| Staged { k, v: k.to_string() });
    assert_eq!(Staged::bulk_create_new(&db.pool, rows()).await.unwrap().created, 10);
    assert_eq!(Staged::bulk_upsert(&db.pool, rows()).await.unwrap().updated, 10);
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert_eq!(Staged::bulk_get_or_create(&mut tx, rows()).await.unwrap().len(), 10);
    tx.commit().await.unwrap();
    assert_eq!(number(&db.pool, "SELECT count(*) FROM upsertable_staged").await, 10);
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(schema = "odd`schema\\'s", table = "odd`table\\'s")]
#[unique(name)]
struct Odd {
    #[upsertable(generated)]
    id: i64,
    #[sqlx(rename = "odd`column\\'s")]
    name: String,
    #[sqlx(rename = "select")]
    value: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_quotes_and_backslashes_and_a_schema() {
    let db = with_tables(1, &["CREATE DATABASE IF NOT EXISTS `odd``schema\\'s`", "DROP TABLE IF EXISTS `odd``schema\\'s`.`odd``table\\'s`",
        "CREATE TABLE `odd``schema\\'s`.`odd``table\\'s` (id BIGINT AUTO_INCREMENT PRIMARY KEY, `odd``column\\'s` VARCHAR(20) NOT NULL UNIQUE, `select` BIGINT NOT NULL)"]).await;
    let new = |name: &str, value| NewOdd { name: name.into(), value };
    assert!(Odd::get_or_create(&db.pool, new("a", 1)).await.unwrap().created);
    assert_eq!(Odd::upsert(&db.pool, new("a", 2)).await.unwrap().row.value, 2);
    assert!(Odd::upsert(&db.pool, new("b", 2)).await.unwrap().created);
    let done = Odd::bulk_upsert(&db.pool, [new("a", 3), new("c", 3)]).await.unwrap();
    assert_eq!((done.created, done.updated), (1, 1));
    assert_eq!(Odd::bulk_create_new(&db.pool, [new("a", 3), new("d", 3)]).await.unwrap().created, 1);
    let keys = ["a", "x", "d"].map(|name| OddKey { name: name.into() });
    let found = Odd::find_all(&db.pool, keys).await.unwrap();
    assert_eq!(found.iter().map(|row| row.as_ref().map(|row| row.value)).collect::<Vec<_>>(), [Some(3), None, Some(3)]);
    Odd::verify(&db.pool).await.unwrap();
    db.pool.acquire().await.unwrap().execute("DROP DATABASE `odd``schema\\'s`").await.unwrap();
}
