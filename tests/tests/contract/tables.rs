//! Models for upserts, odd names and hours, each with its table.

use chrono::{DateTime, Utc};
use sqlx::Database as _;
use upsertable::Upsertable;

use super::{Db, Fixture};

/// A song: who added it first is never changed.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "songs")]
#[unique(name)]
pub(super) struct Song {
    #[upsertable(generated)]
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) score: i64,
    #[upsertable(create_only)]
    pub(super) added_by: String,
}

pub(super) fn song(name: &str, score: i64, added_by: &str) -> NewSong {
    NewSong { name: name.into(), score, added_by: added_by.into() }
}

pub(super) fn song_key(name: &str) -> SongKey {
    SongKey { name: name.into() }
}

/// A member, of whom the database fills in two columns.
///
/// They are the id and when it was made; every other column is the key's or may not change.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "members")]
#[unique(team, player)]
pub(super) struct Member {
    #[upsertable(generated)]
    pub(super) id: i64,
    pub(super) team: i64,
    pub(super) player: String,
    #[upsertable(create_only)]
    pub(super) since: i64,
    #[upsertable(generated)]
    pub(super) state: String,
}

pub(super) fn member(team: i64, player: &str, since: i64) -> NewMember {
    NewMember { team, player: player.into(), since }
}

/// A topic, whose text key is compared without case.
///
/// It has a value to be upserted.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "topics")]
#[unique(code)]
pub(super) struct Topic {
    #[upsertable(generated)]
    pub(super) id: i64,
    pub(super) code: String,
    pub(super) title: String,
}

pub(super) fn topic(code: &str, title: &str) -> NewTopic {
    NewTopic { code: code.into(), title: title.into() }
}

/// Names that are special to a database or need quotes.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "select \"from\" `where`.order's")]
#[unique(group, dotted)]
pub(super) struct Reserved {
    #[upsertable(generated)]
    #[sqlx(rename = "primary")]
    pub(super) id: i64,
    #[sqlx(rename = "group")]
    pub(super) group: i64,
    #[sqlx(rename = "a.b \"c\" `d` [e]")]
    pub(super) dotted: String,
    #[sqlx(rename = "ünï ? $1 :x")]
    pub(super) odd: String,
    #[upsertable(create_only)]
    #[sqlx(rename = "values")]
    pub(super) values: i64,
}

/// A model whose names are used in the crate's statements.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "s")]
#[unique(n, t)]
pub(super) struct Insider {
    #[upsertable(generated)]
    pub(super) id: i64,
    pub(super) n: i64,
    pub(super) w: i64,
    pub(super) s: i64,
    pub(super) t: i64,
    pub(super) c0: i64,
    pub(super) c1: i64,
    pub(super) found: i64,
    pub(super) created: i64,
}

/// A model whose table has the crate's other short name.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "t")]
#[unique(s)]
pub(super) struct Outsider {
    pub(super) s: i64,
    pub(super) n: i64,
    #[sqlx(rename = "t")]
    pub(super) other: i64,
}

/// An hour of weather, with the wall clock's time as key.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "wall_clock")]
#[unique(origin, year, month, day, hour)]
pub(super) struct WallClock {
    pub(super) origin: String,
    pub(super) year: i32,
    pub(super) month: i32,
    pub(super) day: i32,
    pub(super) hour: i32,
    pub(super) temp: f64,
}

/// An hour of weather, whose key is a moment.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "moments")]
#[unique(origin, time_hour)]
pub(super) struct Moment {
    pub(super) origin: String,
    pub(super) time_hour: DateTime<Utc>,
    pub(super) temp: f64,
}

/// A name as this database quotes it.
pub(super) fn quoted(name: &str) -> String {
    let quote = if Db::NAME == "MySQL" { '`' } else { '"' };
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}

/// Tables of this module's models.
///
/// The database's own words are in braces.
fn schema() -> Vec<String> {
    // The type that holds a moment and no time zone of its own.
    let moment = if Db::NAME == "PostgreSQL" { "TIMESTAMPTZ" } else { "TIMESTAMP" };
    let reserved = quoted(Reserved::TABLE);
    let columns = Reserved::COLUMNS.map(quoted);
    let [id, group, dotted, odd, values] = &columns;
    vec![
        "CREATE TABLE songs (id {id}, name {text} NOT NULL, score BIGINT NOT NULL CHECK (score >= 0), added_by {text} NOT NULL, UNIQUE (name))".into(),
        "CREATE TABLE members (id {id}, team BIGINT NOT NULL, player {text} NOT NULL, since BIGINT NOT NULL, \
         state VARCHAR(20) NOT NULL DEFAULT 'joined', UNIQUE (team, player))".into(),
        "CREATE TABLE topics (id {id}, code {nocase} NOT NULL, title {text} NOT NULL, UNIQUE (code))".into(),
        format!(
            "CREATE TABLE {reserved} ({id} {{id}}, {group} BIGINT NOT NULL, {dotted} {{text}} NOT NULL, {odd} {{text}} NOT NULL, \
             {values} BIGINT NOT NULL, UNIQUE ({group}, {dotted}))"
        ),
        "CREATE TABLE s (id {id}, n BIGINT NOT NULL, w BIGINT NOT NULL, s BIGINT NOT NULL, t BIGINT NOT NULL, c0 BIGINT NOT NULL, \
         c1 BIGINT NOT NULL, found BIGINT NOT NULL, created BIGINT NOT NULL, UNIQUE (n, t))".into(),
        "CREATE TABLE t (s BIGINT NOT NULL, n BIGINT NOT NULL, t BIGINT NOT NULL, UNIQUE (s))".into(),
        "CREATE TABLE wall_clock (origin {text} NOT NULL, year INT NOT NULL, month INT NOT NULL, day INT NOT NULL, hour INT NOT NULL, \
         temp DOUBLE PRECISION NOT NULL, UNIQUE (origin, year, month, day, hour))".into(),
        format!(
            "CREATE TABLE moments (origin {{text}} NOT NULL, time_hour {moment} NOT NULL, temp DOUBLE PRECISION NOT NULL, \
             UNIQUE (origin, time_hour))"
        ),
    ]
}

impl Reserved {
    const TABLE: &str = "select \"from\" `where`.order's";
    const COLUMNS: [&str; 5] = ["primary", "group", "a.b \"c\" `d` [e]", "ünï ? $1 :x", "values"];
}

/// The fixture, with this module's tables beside its own.
pub(super) async fn fixture() -> Fixture {
    fixture_of(8).await
}

/// Makes the fixture with so many connections, and its tables.
pub(super) async fn fixture_of(connections: u32) -> Fixture {
    let db = Fixture::with_connections(connections).await;
    for table in schema() {
        db.run(&table).await;
    }
    db
}
