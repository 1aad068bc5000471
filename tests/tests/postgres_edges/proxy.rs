//! A proxy that loses the connection at a chosen step.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use sqlx::{
    PgPool,
    postgres::{PgPoolOptions, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use upsertable_tests::{Fixture, OnPostgres};

/// Ways in which the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The client's message does not arrive.
    Request,
    /// The client's message arrives, and the server's answer does not.
    Answer,
    /// The server ends the connection and says so.
    Terminated,
}

#[derive(Default)]
struct Plan {
    /// Number of the client's last message, counted from 1.
    ///
    /// It is counted from now on.
    at: Option<(usize, Loss)>,
    /// The number of the server's process that was lost.
    lost: Option<i32>,
}

/// A proxy between a pool and the server.
pub(super) struct Proxy {
    plan: Arc<Mutex<Plan>>,
    sent: Arc<AtomicUsize>,
}

const BUFFER: usize = 1 << 16;

impl Proxy {
    /// Makes a pool of one connection by way of a proxy.
    ///
    /// Nothing where the server is not reached by TCP.
    pub(super) async fn start(db: &Fixture<OnPostgres>) -> Option<(Self, PgPool)> {
        let options = (*db.pool.connect_options()).clone();
        let server = (options.get_host().to_owned(), options.get_port());
        if options.get_socket().is_some() || server.0.starts_with('/') {
            eprintln!("SKIPPED: lost connections, as DATABASE_URL_POSTGRES names a socket and no TCP port");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { plan: Arc::default(), sent: Arc::default() };
        let (plan, sent, admin) = (Arc::clone(&proxy.plan), Arc::clone(&proxy.sent), db.outside.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let upstream = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                let link = Link { plan: Arc::clone(&plan), sent: Arc::clone(&sent), admin: admin.clone() };
                tokio::spawn(link.carry(client, upstream));
            }
        });
        let through = options.host("127.0.0.1").port(port).ssl_mode(PgSslMode::Disable);
        let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        Some((proxy, pool.connect_with(through).await.unwrap()))
    }

    /// Loses the connection at the client's `at`th message from now on.
    pub(super) fn lose(&self, at: usize, loss: Loss) {
        self.sent.store(0, Ordering::SeqCst);
        *self.plan.lock().unwrap() = Plan { at: Some((at, loss)), lost: None };
    }

    /// Takes the lost server process's number, and ends the losses.
    pub(super) fn end(&self) -> Option<i32> {
        std::mem::take(&mut *self.plan.lock().unwrap()).lost
    }
}

struct Link {
    plan: Arc<Mutex<Plan>>,
    sent: Arc<AtomicUsize>,
    admin: PgPool,
}

impl Link {
    async fn carry(self, mut client: TcpStream, mut upstream: TcpStream) {
        for socket in [&client, &upstream] {
            // One piece that arrives may go on in two, of which the second would wait for the first to be acknowledged.
            socket.set_nodelay(true).unwrap();
        }
        let local = i32::from(upstream.local_addr().unwrap().port());
        let (mut request, mut answer) = (vec![0; BUFFER], vec![0; BUFFER]);
        loop {
            tokio::select! {
                read = client.read(&mut request) => {
                    let Ok(read @ 1..) = read else { return };
                    let loss = self.loss();
                    if loss.is_some() {
                        let backend = self.backend(local, loss == Some(Loss::Terminated)).await;
                        self.plan.lock().unwrap().lost = Some(backend);
                    }
                    if loss == Some(Loss::Request) || upstream.write_all(&request[..read]).await.is_err() {
                        return;
                    }
                    if loss == Some(Loss::Answer) {
                        // Rows of a COPY are not answered one by one.
                        tokio::select! {
                            _ = upstream.read(&mut answer) => return,
                            _ = client.read(&mut request) => return,
                        }
                    }
                }
                read = upstream.read(&mut answer) => {
                    let Ok(read @ 1..) = read else { return };
                    if client.write_all(&answer[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn loss(&self) -> Option<Loss> {
        let sent = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let mut plan = self.plan.lock().unwrap();
        let (_, loss) = plan.at.filter(|&(at, _)| at == sent)?;
        plan.at = None;
        Some(loss)
    }

    /// Finds the server's process at the other end.
    ///
    /// It is ended if so asked.
    async fn backend(&self, port: i32, end: bool) -> i32 {
        let find = "SELECT pid FROM pg_stat_activity WHERE client_port = $1 AND backend_type = 'client backend'";
        let backend = sqlx::query_scalar(find).bind(port).fetch_one(&self.admin).await.unwrap();
        if end {
            // Not in one statement: a server may ask for the end of each first.
            sqlx::query("SELECT pg_terminate_backend($1, 5000)").bind(backend).execute(&self.admin).await.unwrap();
        }
        backend
    }
}
