//! Every call in handlers of axum and in spawned tasks: their futures are `Send`, and a transaction's closure may borrow.
#![deny(warnings)]

use axum::{Router, extract::State, routing::post};
use sqlx::{Pool, SqlitePool};
use upsertable::{Backend, Error, Hooks, On, Outcome, TransactionOptions, Upsertable};

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
pub struct Song {
    #[upsertable(generated)]
    pub id: i64,
    pub slug: String,
    pub plays: i64,
}

async fn play(State(pool): State<SqlitePool>, slug: String) -> Result<String, String> {
    let again = format!("{slug}, again");
    let names = [slug.as_str(), again.as_str()];
    let ids = upsertable::transaction(&pool, async |tx| {
        let mut ids = Vec::new();
        for name in names {
            let new = NewSong { slug: name.to_owned(), plays: 1 };
            let Outcome { row, created } = Song::get_or_create(&mut *tx, new).await?;
            tx.on_commit(async move { println!("{}: {created}", row.slug) });
            ids.push(row.id);
        }
        tx.savepoint(async |tx| Song::upsert(tx, NewSong { slug: slug.clone(), plays: 2 }).await.map(drop)).await?;
        Ok::<_, Error>(ids)
    })
    .await
    .map_err(|error| error.to_string())?;
    Ok(format!("{ids:?}"))
}

async fn import(State(pool): State<SqlitePool>, body: String) -> Result<String, String> {
    let rows = body.lines().map(|line| NewSong { slug: line.to_owned(), plays: 0 });
    let done = Song::bulk_create_new(&pool, rows.collect::<Vec<_>>()).await.map_err(|error| error.to_string())?;
    Ok(done.to_string())
}

async fn everywhere<DB: Backend, M: On<DB> + Clone>(State(pool): State<Pool<DB>>) -> Result<(), String> {
    let told = "created";
    let mut hooks = Hooks::new();
    M::after_commit(&mut hooks, async move |rows: std::sync::Arc<[M]>| println!("{} {told}", rows.len()));
    let work = TransactionOptions::new().hooks(&hooks).run(&pool, async |tx| {
        M::bulk_create_new(&mut *tx, Vec::new()).await?;
        Ok::<_, Error>(told.len())
    });
    work.await.map(drop).map_err(|error| error.to_string())
}

fn main() {
    let pool = || SqlitePool::connect_lazy("sqlite::memory:");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let router = Router::<SqlitePool>::new()
            .route("/play", post(play))
            .route("/import", post(import))
            .route("/everywhere", post(everywhere::<sqlx::Sqlite, Song>));
        drop(router.with_state::<()>(pool().unwrap()));
        let pool = pool().unwrap();
        let spawned = tokio::spawn(async move { play(State(pool), String::from("waltz")).await });
        assert!(spawned.await.unwrap().is_err());
    });
}
