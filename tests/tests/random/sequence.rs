//! Parts of a random sequence.

use proptest::{collection::vec, option, prelude::*, sample::select};

/// Codes of items.
///
/// Which of them are equal is the database's to say.
pub(super) const CODES: [&str; 11] = ["a", "A", "b", "B", "ab", "aB", "é", "É", "", "a ", "it's \"ü\" 🦀"];

/// The rooms of items: the other half of their key.
const ROOMS: i64 = 2;

/// Key of an item: its room, and its place in [`CODES`].
///
/// The place is that of its code.
pub(super) type Code = (i64, usize);

/// An item to be given to a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) key: Code,
    /// Badge, unique in the table where there is one.
    pub(super) badge: Option<i64>,
    /// True if the table refuses it.
    pub(super) bad: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Call {
    Find(Code),
    FindAll(Vec<Code>),
    GetOrCreate(Given),
    /// Makes a row whose own key does not count.
    GetOrCreateWith(Code, Given),
    Upsert(Given),
    Bulk(Bulk, Vec<Given>),
    /// A bulk call whose stream gives an error after these.
    BrokenStream(Bulk, Vec<Given>),
    /// A deletion by plain SQL.
    Delete(Code),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bulk {
    CreateNew,
    GetOrCreate,
    Upsert,
}

/// Calls outside any transaction of ours.
#[derive(Debug, Clone)]
pub(super) enum Step {
    OnPool(Call),
    OnConnection(Call),
    /// Calls in a transaction of sqlx.
    InTheirs(Vec<Call>, bool),
    /// Calls in a transaction begun with plain SQL.
    InPlain(Vec<Call>, bool),
    InOurs(Vec<Inner>, End, Hooked),
}

/// Hook on items, or none, in a transaction of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hooked {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Rollback,
    Drop,
}

/// Steps inside a transaction of ours.
#[derive(Debug, Clone)]
pub(super) enum Inner {
    Call(Way, Call),
    OnCommit,
    /// Looks at the table from another connection.
    Look,
    /// A savepoint, released or rolled back.
    Savepoint(Vec<Inner>, bool),
    /// The caller's own SQL.
    Plain(Plain),
}

/// Transaction control by plain SQL or by the server.
///
/// The latter is what a server does to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Rollback,
    Commit,
    /// Another transaction in place of ours.
    Anew,
    /// A savepoint, by the number of its name.
    Savepoint(usize),
    RollbackTo(usize),
    Release(usize),
    /// Makes a table, which commits implicitly on MySQL.
    Ddl,
    /// A deadlock, or what else ends a transaction on a server.
    Spoil,
    /// The server gives the connection up.
    Kill,
}

/// The names of the caller's savepoints.
pub(super) const SAVEPOINTS: [&str; 2] = ["a", "b"];

/// Ways in which a call is given the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Transaction,
    Connection,
    /// sqlx's own connection: hooks see nothing of it.
    Raw,
}

fn code() -> impl Strategy<Value = Code> {
    (0..ROOMS, 0..CODES.len())
}

fn given() -> impl Strategy<Value = Given> {
    let badge = option::weighted(0.25, 0..6_i64);
    (code(), badge, prop::bool::weighted(0.02)).prop_map(|(key, badge, bad)| Given { key, badge, bad })
}

fn bulk() -> impl Strategy<Value = Bulk> {
    select(vec![Bulk::CreateNew, Bulk::GetOrCreate, Bulk::Upsert])
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => code().prop_map(Call::Find),
        1 => vec(code(), 0..8).prop_map(Call::FindAll),
        3 => given().prop_map(Call::GetOrCreate),
        2 => (code(), given()).prop_map(|(code, given)| Call::GetOrCreateWith(code, given)),
        3 => given().prop_map(Call::Upsert),
        6 => (bulk(), vec(given(), 0..14)).prop_map(|(bulk, rows)| Call::Bulk(bulk, rows)),
        1 => (bulk(), vec(given(), 0..5)).prop_map(|(bulk, rows)| Call::BrokenStream(bulk, rows)),
        2 => code().prop_map(Call::Delete),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let name = || 0..SAVEPOINTS.len();
    prop_oneof![
        1 => select(vec![Plain::Rollback, Plain::Commit, Plain::Anew, Plain::Ddl, Plain::Spoil, Plain::Kill]),
        3 => name().prop_map(Plain::Savepoint),
        3 => name().prop_map(Plain::RollbackTo),
        1 => name().prop_map(Plain::Release),
    ]
}

fn inner() -> impl Strategy<Value = Inner> {
    let way = || select(vec![Way::Transaction, Way::Transaction, Way::Connection, Way::Raw]);
    let one = prop_oneof![
        8 => (way(), call()).prop_map(|(way, call)| Inner::Call(way, call)),
        1 => Just(Inner::OnCommit),
        1 => Just(Inner::Look),
        2 => plain().prop_map(Inner::Plain),
    ];
    one.prop_recursive(3, 12, 4, |inner| {
        (vec(inner, 0..4), any::<bool>()).prop_map(|(inner, kept)| Inner::Savepoint(inner, kept))
    })
}

fn step() -> impl Strategy<Value = Step> {
    let end = select(vec![End::Commit, End::Commit, End::Rollback, End::Drop]);
    let hooked = select(vec![Hooked::Yes, Hooked::No]);
    prop_oneof![
        4 => call().prop_map(Step::OnPool),
        1 => call().prop_map(Step::OnConnection),
        1 => (vec(call(), 0..4), any::<bool>()).prop_map(|(calls, kept)| Step::InTheirs(calls, kept)),
        1 => (vec(call(), 0..4), any::<bool>()).prop_map(|(calls, kept)| Step::InPlain(calls, kept)),
        4 => (vec(inner(), 0..5), end, hooked).prop_map(|(inner, end, hooked)| Step::InOurs(inner, end, hooked)),
    ]
}

pub(super) fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..8)
}
