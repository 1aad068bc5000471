//! The plain map: what each call has to do, without a database.

use std::collections::{BTreeMap, BTreeSet};

use upsertable::Upsertable;

use super::sequence::{Bulk, Call, Given};

/// An item of the table.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "items")]
#[unique(room, code)]
pub(super) struct Item {
    #[upsertable(generated)]
    pub(super) id: i64,
    pub(super) room: i64,
    pub(super) code: String,
    pub(super) badge: Option<i64>,
    pub(super) score: i64,
    #[upsertable(create_only)]
    pub(super) maker: i64,
}

pub(super) const TABLE: &str = "CREATE TABLE items (id {id}, room BIGINT NOT NULL, code {nocase} NOT NULL, badge BIGINT, \
     score BIGINT NOT NULL CHECK (score >= 0), maker BIGINT NOT NULL, UNIQUE (room, code), UNIQUE (badge))";

/// A key, as the database tells keys apart.
pub(super) type Key = (i64, usize);

/// A row on its way, with its key.
///
/// The key is known as the database tells keys apart.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) new: NewItem,
}

impl Row {
    fn is_bad(&self) -> bool {
        self.new.score < 0
    }
}

/// A call with the rows that it is given.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Find(Vec<(Key, ItemKey)>),
    FindAll(Vec<(Key, ItemKey)>),
    GetOrCreate(Row),
    GetOrCreateWith(ItemKey, Row, NewItem),
    Upsert(Row),
    Bulk(Bulk, Vec<Row>),
    BrokenStream(Bulk, Vec<Row>),
    Delete(Key, ItemKey),
}

impl Request {
    pub(super) fn is_of_one_row(&self) -> bool {
        matches!(self, Self::GetOrCreate(_) | Self::GetOrCreateWith(..) | Self::Upsert(_))
    }
}

/// The table, without ids that nobody has asked for yet.
pub(super) type Table = BTreeMap<Key, Item>;

/// Answer of a call that succeeds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Found(Vec<Option<Key>>),
    /// The row of each key, and whether it was made.
    Outcomes(Vec<(Key, bool)>),
    /// Rows received, created, updated.
    Counts(u64, u64, u64),
    Nothing,
}

/// Effects of a call that succeeds.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) table: Table,
    pub(super) answer: Answer,
    /// Keys of the created rows, in the order created.
    pub(super) created: Vec<Key>,
}

/// Possible results of a call.
///
/// One of both, or each of them where the promises leave it open.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) done: Option<Done>,
    pub(super) failures: BTreeSet<&'static str>,
}

impl Expected {
    fn failure(failures: BTreeSet<&'static str>) -> Self {
        Self { done: None, failures }
    }

    fn done(table: Table, answer: Answer, created: Vec<Key>) -> Self {
        Self { done: Some(Done { table, answer, created }), failures: BTreeSet::new() }
    }
}

pub(super) const REFUSED: &str = "Sql";
pub(super) const OTHER_UNIQUE: &str = "OtherUnique";
pub(super) const BROKEN: &str = "the stream's own";

fn item(new: &NewItem) -> Item {
    let NewItem { room, ref code, badge, score, maker } = *new;
    Item { id: 0, room, code: code.clone(), badge, score, maker }
}

/// Reasons for which the table refuses a row with this key.
///
/// As far as one can tell before the others of its call.
fn refusals(table: &Table, row: &Row) -> BTreeSet<&'static str> {
    let mut refusals = BTreeSet::new();
    if row.is_bad() {
        refusals.insert(REFUSED);
    }
    let badge_of_another =
        |(key, item): (&Key, &Item)| *key != row.key && item.badge.is_some() && item.badge == row.new.badge;
    if table.iter().any(badge_of_another) {
        refusals.insert(OTHER_UNIQUE);
    }
    refusals
}

/// Expected result of the call.
pub(super) fn expected(table: &Table, request: &Request) -> Expected {
    let found = |keys: &[(Key, ItemKey)]| keys.iter().map(|(key, _)| table.contains_key(key).then_some(*key)).collect();
    match request {
        Request::Find(keys) | Request::FindAll(keys) => {
            Expected::done(table.clone(), Answer::Found(found(keys)), Vec::new())
        }
        Request::GetOrCreate(row) | Request::GetOrCreateWith(_, row, _) => get_or_create(table, row),
        Request::Upsert(row) => upsert(table, row),
        Request::Bulk(Bulk::CreateNew, rows) => bulk_create(table, rows, false),
        Request::Bulk(Bulk::GetOrCreate, rows) => bulk_create(table, rows, true),
        Request::Bulk(Bulk::Upsert, rows) => bulk_upsert(table, rows),
        Request::BrokenStream(..) => Expected::failure(BTreeSet::from([BROKEN])),
        Request::Delete(key, _) => {
            let mut table = table.clone();
            table.remove(key);
            Expected::done(table, Answer::Nothing, Vec::new())
        }
    }
}

fn get_or_create(table: &Table, row: &Row) -> Expected {
    if table.contains_key(&row.key) {
        return Expected::done(table.clone(), Answer::Outcomes(vec![(row.key, false)]), Vec::new());
    }
    let refusals = refusals(table, row);
    if !refusals.is_empty() {
        return Expected::failure(refusals);
    }
    let mut table = table.clone();
    table.insert(row.key, item(&row.new));
    Expected::done(table, Answer::Outcomes(vec![(row.key, true)]), vec![row.key])
}

/// Gives the item all columns but key, id and maker.
fn give_values(item: &mut Item, new: &NewItem) {
    item.badge = new.badge;
    item.score = new.score;
}

fn upsert(table: &Table, row: &Row) -> Expected {
    if !table.contains_key(&row.key) {
        return get_or_create(table, row);
    }
    let refusals = refusals(table, row);
    if !refusals.is_empty() {
        return Expected::failure(refusals);
    }
    let mut table = table.clone();
    table.entry(row.key).and_modify(|item| give_values(item, &row.new));
    Expected::done(table, Answer::Outcomes(vec![(row.key, false)]), Vec::new())
}

/// Expects a bulk call that creates rows.
///
/// The first row of a key that is not there makes it; all others are skipped, whatever is wrong with them.
fn bulk_create(before: &Table, rows: &[Row], answers: bool) -> Expected {
    let (mut table, mut created, mut outcomes) = (before.clone(), Vec::new(), Vec::new());
    let mut refused = BTreeSet::new();
    for row in rows {
        let is_new = !table.contains_key(&row.key);
        outcomes.push((row.key, is_new));
        if is_new {
            refused.append(&mut refusals(&table, row));
            table.insert(row.key, item(&row.new));
            created.push(row.key);
        }
    }
    if !refused.is_empty() {
        return Expected::failure(refused);
    }
    let counts = Answer::Counts(rows.len() as u64, created.len() as u64, 0);
    Expected::done(table, if answers { Answer::Outcomes(outcomes) } else { counts }, created)
}

/// Expects a bulk upsert.
///
/// The first row of a new key makes it, the last of each key gives it its values.
fn bulk_upsert(before: &Table, rows: &[Row]) -> Expected {
    let mut first: BTreeMap<Key, &Row> = BTreeMap::new();
    let mut last: BTreeMap<Key, &Row> = BTreeMap::new();
    let mut created = Vec::new();
    for row in rows {
        if !before.contains_key(&row.key) && !first.contains_key(&row.key) {
            created.push(row.key);
        }
        first.entry(row.key).or_insert(row);
        last.insert(row.key, row);
    }
    let mut table = before.clone();
    for key in &created {
        table.insert(*key, item(&first[key].new));
    }
    for (key, row) in &last {
        table.entry(*key).and_modify(|item| give_values(item, &row.new));
    }

    let mut failures = BTreeSet::new();
    // A row that is neither written first nor last is not looked at.
    let written = || created.iter().map(|key| first[key]).chain(last.values().copied());
    if written().any(Row::is_bad) {
        failures.insert(REFUSED);
    }
    if has_twice(table.iter().map(|(key, item)| (*key, item.badge))) {
        failures.insert(OTHER_UNIQUE);
    }
    let possible = failures.is_empty();
    // A badge that passes from one row to another within the call may be refused, as the order of the writes is nobody's promise.
    let held = before.iter().map(|(key, item)| (*key, item.badge)).chain(written().map(|row| (row.key, row.new.badge)));
    if has_twice(held) {
        failures.insert(OTHER_UNIQUE);
    }
    // Neither is it a promise that a bad row is passed over when the rows around it are good.
    if rows.iter().any(Row::is_bad) {
        failures.insert(REFUSED);
    }
    let updated = last.len() - created.len();
    let answer = Answer::Counts(rows.len() as u64, created.len() as u64, updated as u64);
    Expected { done: possible.then_some(Done { table, answer, created }), failures }
}

/// Tests if two keys have one badge.
fn has_twice(badges: impl Iterator<Item = (Key, Option<i64>)>) -> bool {
    let mut holders: BTreeMap<i64, Key> = BTreeMap::new();
    badges
        .filter_map(|(key, badge)| Some((key, badge?)))
        .any(|(key, badge)| *holders.entry(badge).or_insert(key) != key)
}

/// Makes the rows of a call, each with a number.
///
/// The number is the row's own, and stands as score and maker.
pub(super) struct Numbered<'c> {
    pub(super) codes: &'c [&'static str],
    /// For each code, the first that the database takes for equal.
    pub(super) classes: &'c [usize],
    pub(super) last: i64,
}

impl Numbered<'_> {
    fn key(&self, (room, code): (i64, usize)) -> (Key, ItemKey) {
        ((room, self.classes[code]), ItemKey { room, code: self.codes[code].to_owned() })
    }

    fn row(&mut self, given: Given) -> Row {
        self.last += 1;
        let (key, ItemKey { room, code }) = self.key(given.key);
        let score = if given.bad { -self.last } else { self.last };
        Row { key, new: NewItem { room, code, badge: given.badge, score, maker: self.last } }
    }

    pub(super) fn request(&mut self, call: &Call) -> Request {
        match call {
            Call::Find(code) => Request::Find(vec![self.key(*code)]),
            Call::FindAll(codes) => Request::FindAll(codes.iter().map(|code| self.key(*code)).collect()),
            Call::GetOrCreate(given) => Request::GetOrCreate(self.row(*given)),
            Call::GetOrCreateWith(code, given) => {
                let made = self.row(*given).new;
                let (key, by) = self.key(*code);
                let new = NewItem { room: by.room, code: by.code.clone(), ..made.clone() };
                Request::GetOrCreateWith(by, Row { key, new }, made)
            }
            Call::Upsert(given) => Request::Upsert(self.row(*given)),
            Call::Bulk(bulk, rows) => Request::Bulk(*bulk, rows.iter().map(|given| self.row(*given)).collect()),
            Call::BrokenStream(bulk, rows) => {
                Request::BrokenStream(*bulk, rows.iter().map(|given| self.row(*given)).collect())
            }
            Call::Delete(code) => {
                let (key, by) = self.key(*code);
                Request::Delete(key, by)
            }
        }
    }
}
