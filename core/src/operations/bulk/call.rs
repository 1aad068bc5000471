//! A bulk call with the types of model and rows erased.
//!
//! All of it is compiled once a database, not once a model.

use crate::{
    backend::Backend,
    backend::staging::Mark,
    connection::handle::Session,
    error::Error,
    feed::progress::Progress,
    feed::source::{Failure, Rows},
    model::erased::ModelVTable,
    operations::bulk::job::{Goal, Job, Merged, Plan},
    operations::bulk::report::{BulkCreated, BulkUpserted},
    operations::created,
    operations::target::Target,
    outcome::CallFuture,
};

pub(super) struct BulkCall<'a, DB: Backend, E> {
    pub(super) session: Session<'a, DB>,
    pub(super) model: ModelVTable<DB>,
    pub(super) rows: Box<dyn Rows<DB, E> + 'a>,
    pub(super) options: Options<'a>,
}

#[derive(Default)]
pub(super) struct Options<'a> {
    pub(super) commit_every: Option<u64>,
    pub(super) on_progress: Option<Box<dyn FnMut(Progress) + Send + 'a>>,
}

impl<'a, DB: Backend, E: From<Error> + Send + 'a> BulkCall<'a, DB, E> {
    pub(super) fn create_new(mut self) -> CallFuture<'a, BulkCreated, E> {
        Box::pin(async move {
            let goal = if created::are_wanted(&self.session, &self.model) { Goal::CreateAndRead } else { Goal::Create };
            let merged = self.run(goal, "bulk_create_new").await?;
            created::hand_on(&mut self.session, &self.model, &merged.rows)?;
            Ok(BulkCreated { received: merged.received, created: merged.created })
        })
    }

    /// Finds or creates the rows, and gives each with its mark.
    pub(super) fn get_or_create(mut self) -> CallFuture<'a, Vec<DB::Row>, E> {
        Box::pin(async move {
            let rows = self.run(Goal::GetOrCreate, "bulk_get_or_create").await?.rows;
            for row in &rows {
                if Mark::read::<DB>(row).map_err(Error::from)?.created {
                    created::hand_on(&mut self.session, &self.model, std::slice::from_ref(row))?;
                }
            }
            Ok(rows)
        })
    }

    pub(super) fn upsert(mut self) -> CallFuture<'a, BulkUpserted, E> {
        Box::pin(async move {
            let goal = if created::are_wanted(&self.session, &self.model) { Goal::UpsertAndRead } else { Goal::Upsert };
            let merged = self.run(goal, "bulk_upsert").await?;
            created::hand_on(&mut self.session, &self.model, &merged.rows)?;
            Ok(BulkUpserted { received: merged.received, created: merged.created, updated: merged.updated })
        })
    }

    async fn run(&mut self, goal: Goal, operation: &'static str) -> Result<Merged<DB>, E> {
        let target = Target::new(self.model.table, 0, operation);
        let watch = target.span();
        let mut ignore = |_: Progress| {};
        let job = Job {
            plan: Plan { target, goal },
            types: (self.model.types)(),
            source: &mut *self.rows,
            on_progress: match &mut self.options.on_progress {
                Some(listener) => &mut **listener,
                None => &mut ignore,
            },
            watch: &watch,
        };
        let session = &mut self.session;
        let work = async {
            match self.options.commit_every {
                Some(every) => job.run_in_parts(session, every).await,
                None => job.run(session).await,
            }
        };
        let merged = watch.run(work).await;
        if let Ok(merged) = &merged {
            watch.rows(merged.received);
            watch.created(merged.created);
            if matches!(goal, Goal::Upsert | Goal::UpsertAndRead) {
                watch.updated(merged.updated);
            }
        }
        merged.map_err(|failure| match failure {
            Failure::Call(error) => error.into(),
            // An item's failure leaves its error with the rows.
            Failure::Item => self.rows.error().unwrap_or_else(|| Error::Sql(sqlx::Error::WorkerCrashed).into()),
        })
    }
}
