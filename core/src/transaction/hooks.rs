//! Hooks on the rows that a transaction creates.

use std::{any::Any, collections::HashMap, fmt, future::Future, panic::Location, sync::Arc};

use crate::{
    model::model_id::ModelId,
    transaction::callback::{Callback, Output},
};

/// Hooks for every transaction that is begun with them.
///
/// See [`Upsertable::after_commit`](crate::Upsertable::after_commit) and [`begin_with`](crate::begin_with).
///
/// ```
/// # use std::sync::Arc;
/// # use upsertable::{Hooks, Upsertable};
/// # #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
/// # #[unique(name)]
/// # struct Tag { #[upsertable(generated)] id: i64, name: String }
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let mut hooks = Hooks::new();
/// Tag::after_commit(&mut hooks, async move |tags: Arc<[Tag]>| println!("{} new tags", tags.len()));
/// let tx = upsertable::begin_with(&pool, &hooks).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Hooks(Vec<Hook>);

impl Hooks {
    /// No hooks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hook> {
        self.0.iter()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.len()).finish()
    }
}

/// A registry of hooks: a [`Transaction`](crate::Transaction), or [`Hooks`] for many.
#[diagnostic::on_unimplemented(
    message = "hooks cannot be registered on `{Self}`",
    label = "expected an upsertable `Transaction` or `Hooks`"
)]
pub trait Registry {
    /// Takes the hook.
    #[doc(hidden)]
    fn register(&mut self, hook: PendingHook);
}

/// A hook on its way to its registry.
#[doc(hidden)]
pub struct PendingHook(pub(crate) Hook);

impl Registry for Hooks {
    fn register(&mut self, hook: PendingHook) {
        self.0.push(hook.0);
    }
}

/// Makes a callback for the created rows of one model.
///
/// There is none where no row was created.
type MakeCallback = Arc<dyn Fn(&mut CreatedRows) -> Option<Callback> + Send + Sync>;

/// Work for the rows of one model.
#[derive(Clone)]
pub(crate) struct Hook {
    model: ModelId,
    make: MakeCallback,
    /// Makes the collection for the model's rows.
    ///
    /// Only who registers a hook has that compiled for the model, and not who creates rows.
    gather: fn() -> Box<dyn Rows>,
}

impl Hook {
    #[track_caller]
    pub(crate) fn new<M, F, Fut>(work: F) -> Self
    where
        M: Send + Sync + 'static,
        F: FnOnce(Arc<[M]>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Output,
    {
        let place = Location::caller();
        let make = move |created: &mut CreatedRows| {
            let rows = created.shared::<M>()?;
            let work = work.clone();
            Some(Callback::at(place, async move { work(rows).await }))
        };
        Self { model: ModelId::of::<M>(), make: Arc::new(make), gather: || Box::new(Gathered::<M>::default()) }
    }

    pub(crate) fn callback(&self, created: &mut CreatedRows) -> Option<Callback> {
        (self.make)(created)
    }
}

/// The created rows of the models that have hooks.
///
/// Each model's rows are in the order created.
#[derive(Default)]
pub(crate) struct CreatedRows(HashMap<ModelId, OfModel>);

struct OfModel {
    /// Place of the model's first hook in the queue.
    ///
    /// All that waits for the commit is counted.
    since: usize,
    rows: Box<dyn Rows>,
}

impl CreatedRows {
    /// Gathers the rows of the hook's model from now on.
    pub(crate) fn gather_for(&mut self, hook: &Hook, place: usize) {
        self.0.entry(hook.model).or_insert_with(|| OfModel { since: place, rows: (hook.gather)() });
    }

    pub(crate) fn gathers(&self, model: ModelId) -> bool {
        self.0.contains_key(&model)
    }

    /// Takes a row out of its `Option<M>`, if there is a hook.
    pub(crate) fn push(&mut self, model: ModelId, row: &mut dyn Any) {
        if let Some(of_model) = self.0.get_mut(&model) {
            of_model.rows.push(row);
        }
    }

    /// Number of rows of each model.
    pub(crate) fn lengths(&self) -> HashMap<ModelId, usize> {
        self.0.iter().map(|(model, of_model)| (*model, of_model.rows.len())).collect()
    }

    /// Returns to the state in which a savepoint was set.
    ///
    /// Forgets the models whose first hook has this place or a later one, and the rows that came after `lengths` were taken.
    pub(crate) fn return_to(&mut self, place: usize, lengths: &HashMap<ModelId, usize>) {
        self.0.retain(|_, of_model| of_model.since < place);
        for (model, of_model) in &mut self.0 {
            of_model.rows.truncate(lengths.get(model).copied().unwrap_or(0));
        }
    }

    /// All rows of a model, shared by all its hooks.
    ///
    /// `None` where there are none.
    fn shared<M: Send + Sync + 'static>(&mut self) -> Option<Arc<[M]>> {
        let gathered = self.0.get_mut(&ModelId::of::<M>())?.rows.as_any().downcast_mut::<Gathered<M>>()?;
        let rows = &mut gathered.rows;
        let shared = gathered.shared.get_or_insert_with(|| std::mem::take(rows).into());
        (!shared.is_empty()).then(|| Arc::clone(shared))
    }

    /// Number of models whose rows are gathered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

struct Gathered<M> {
    rows: Vec<M>,
    /// The rows, once the first hook has asked for them.
    shared: Option<Arc<[M]>>,
}

impl<M> Default for Gathered<M> {
    fn default() -> Self {
        Self { rows: Vec::new(), shared: None }
    }
}

trait Rows: Send {
    /// Takes a row out of its `Option<M>`.
    fn push(&mut self, row: &mut dyn Any);
    fn len(&self) -> usize;
    fn truncate(&mut self, length: usize);
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<M: Send + Sync + 'static> Rows for Gathered<M> {
    fn push(&mut self, row: &mut dyn Any) {
        self.rows.extend(row.downcast_mut::<Option<M>>().and_then(Option::take));
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn truncate(&mut self, length: usize) {
        self.rows.truncate(length);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
