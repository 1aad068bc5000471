//! A proxy between a pool and the server, which makes faults.
//!
//! At a chosen step it has the server kill the connection, or makes its answer wrong.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{
    AssertSqlSafe, MySqlPool,
    mysql::{MySqlPoolOptions, MySqlSslMode},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
};
use upsertable_tests::{Fixture, OnMySql};

/// Moments at which the connection is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The server does not get the command.
    Before,
    /// The server has done it, and its answer is lost.
    After,
}

/// Ways to make the server's answer wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It says that one row fewer was written.
    OneFewer,
    /// One row is missing of those that it gives.
    OneLost,
}

/// Plan of faults, with all connections' commands counted together.
#[derive(Default)]
struct Plan {
    armed: Option<(usize, When)>,
    lie: Option<(usize, Lie)>,
    /// Set once the lie was told.
    told: bool,
}

impl Plan {
    fn next(&mut self) -> Option<When> {
        let (left, when) = self.armed?;
        self.armed = (left > 1).then(|| (left - 1, when));
        (left == 1).then_some(when)
    }

    /// Lie for the answer to this command, if any.
    ///
    /// What is prepared or closed tells no rows.
    fn next_lie(&mut self, command: u8) -> Option<Lie> {
        if !runs(command) {
            return None;
        }
        let (left, lie) = self.lie?;
        self.lie = (left > 1).then(|| (left - 1, lie));
        (left == 1).then_some(lie)
    }
}

pub(crate) struct Proxy {
    plan: Arc<Mutex<Plan>>,
    /// Pool with one connection through the proxy.
    pub(crate) pool: MySqlPool,
}

impl Proxy {
    pub(crate) async fn before(db: &Fixture<OnMySql>) -> Self {
        let options = db.pool.connect_options();
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let plan = Arc::new(Mutex::new(Plan::default()));
        let (shared, admin) = (Arc::clone(&plan), db.outside.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, plan, admin) = (server.clone(), Arc::clone(&shared), admin.clone());
                tokio::spawn(
                    async move { carry(client, TcpStream::connect(server).await.unwrap(), plan, admin).await },
                );
            }
        });
        let options = (*options).clone().host("127.0.0.1").port(address.port()).ssl_mode(MySqlSslMode::Disabled);
        let pool = MySqlPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        Self { plan, pool }
    }

    /// Kills the connection at this command, counted from 1.
    pub(crate) fn arm(&self, step: usize, when: When) {
        self.plan.lock().unwrap().armed = Some((step, when));
    }

    /// Makes the answer to this statement wrong, counted from 1.
    pub(crate) fn lie(&self, step: usize, lie: Lie) {
        let mut plan = self.plan.lock().unwrap();
        (plan.lie, plan.told) = (Some((step, lie)), false);
    }

    /// Tests if the statement came, and if the lie was told.
    ///
    /// The lie needs something in the answer to make wrong.
    pub(crate) fn told(&self) -> (bool, bool) {
        let mut plan = self.plan.lock().unwrap();
        (plan.lie.take().is_none(), plan.told)
    }

    /// Cancels the kill, and returns true if it came before.
    pub(crate) fn disarm(&self) -> bool {
        self.plan.lock().unwrap().armed.take().is_none()
    }
}

/// The answers, carried in a task of their own.
struct Answers {
    lost: AtomicBool,
    came: Notify,
    lie: Mutex<Option<Lie>>,
    plan: Arc<Mutex<Plan>>,
}

async fn carry(client: TcpStream, server: TcpStream, plan: Arc<Mutex<Plan>>, admin: MySqlPool) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let Some(greeting) = read_packet(&mut from_server).await else { return };
    let id = connection_id(&greeting);
    if to_client.write_all(&greeting).await.is_err() {
        return;
    }
    let answers = Arc::new(Answers {
        lost: AtomicBool::new(false),
        came: Notify::new(),
        lie: Mutex::default(),
        plan: Arc::clone(&plan),
    });
    tokio::spawn(carry_answers(from_server, to_client, Arc::clone(&answers)));
    while let Some(packet) = read_packet(&mut from_client).await {
        // A command begins a new sequence; what belongs to the log-in does not.
        let when = if packet[3] == 0 { plan.lock().unwrap().next() } else { None };
        if packet[3] == 0 {
            *answers.lie.lock().unwrap() = plan.lock().unwrap().next_lie(packet[4]);
        }
        if when == Some(When::After) {
            answers.lost.store(true, Ordering::SeqCst);
        }
        if when != Some(When::Before) && to_server.write_all(&packet).await.is_err() {
            return;
        }
        if when == Some(When::After) && has_answer(packet[4]) {
            answers.came.notified().await;
        }
        if when.is_some() {
            // The server may have ended the connection by itself, and knows nobody of that number then.
            drop(sqlx::query(AssertSqlSafe(format!("KILL {id}"))).execute(&admin).await);
            return;
        }
    }
}

/// Carries answers until the server ends the connection.
async fn carry_answers(mut from_server: OwnedReadHalf, mut to_client: OwnedWriteHalf, answers: Arc<Answers>) {
    // The packet before, of an answer that is to lose its last row.
    let mut held: Option<Vec<u8>> = None;
    while let Some(mut packet) = read_packet(&mut from_server).await {
        if answers.lost.load(Ordering::SeqCst) {
            answers.came.notify_one();
            continue;
        }
        let lie = *answers.lie.lock().unwrap();
        let tells = match lie {
            Some(Lie::OneFewer) => says_one_fewer(&mut packet),
            // The end of the rows comes behind the last.
            Some(Lie::OneLost) => {
                let is_end = packet[4] == 0xfe && packet.len() < 64;
                let loses = is_end && held.take_if(|row| row[4] == 0).is_some();
                let row = (!is_end).then(|| std::mem::take(&mut packet));
                let before = std::mem::replace(&mut held, row);
                if let Some(before) = before
                    && to_client.write_all(&before).await.is_err()
                {
                    return;
                }
                loses
            }
            None => false,
        };
        if tells {
            *answers.lie.lock().unwrap() = None;
            answers.plan.lock().unwrap().told = true;
        }
        // An answer without rows is over with its first packet.
        if lie == Some(Lie::OneLost)
            && held.as_ref().is_some_and(|packet| packet[3] == 1 && matches!(packet[4], 0 | 0xff))
            && let Some(only) = held.take()
        {
            packet = only;
            *answers.lie.lock().unwrap() = None;
        }
        if to_client.write_all(&packet).await.is_err() {
            return;
        }
    }
}

/// Makes an OK packet tell one row fewer.
///
/// It has to tell of more than one.
fn says_one_fewer(packet: &mut [u8]) -> bool {
    if packet[3] != 1 || packet[4] != 0 {
        return false;
    }
    // Up to 250 a number is one byte, above it stands behind its length.
    let rows = match packet[5] {
        0 | 1 => return false,
        0xfc => &mut packet[6],
        _ => &mut packet[5],
    };
    *rows = rows.wrapping_sub(1);
    true
}

/// Reads a packet with its header.
///
/// The header is three bytes of length, and its number in the sequence.
async fn read_packet(stream: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet).await.ok()?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
    packet.resize(4 + length, 0);
    stream.read_exact(&mut packet[4..]).await.ok()?;
    Some(packet)
}

/// Reads the number of the connection from the server's greeting.
///
/// The greeting is a version of the protocol, the server's own version as text with a zero at its end, and the number of the connection.
fn connection_id(greeting: &[u8]) -> u32 {
    let after_version = 5 + greeting[5..].iter().position(|byte| *byte == 0).unwrap() + 1;
    u32::from_le_bytes(greeting[after_version..after_version + 4].try_into().unwrap())
}

/// Tests if the server answers this command.
///
/// It answers all but the end of a session and the closing of a statement.
fn has_answer(command: u8) -> bool {
    const QUIT: u8 = 0x01;
    const CLOSE_STATEMENT: u8 = 0x19;
    !matches!(command, QUIT | CLOSE_STATEMENT)
}

/// Tests if the command runs a statement.
///
/// By its text or as it was prepared.
fn runs(command: u8) -> bool {
    const QUERY: u8 = 0x03;
    const EXECUTE: u8 = 0x17;
    matches!(command, QUERY | EXECUTE)
}
