async fn job(conn: &mut sqlx::SqliteConnection) -> Result<(), upsertable::Error> {
    upsertable::on_commit(&mut *conn, async { println!("is it saved?") }).await?;
    Ok(())
}

fn main() {}
