//! The queue for the commit: callbacks, hooks and created rows.
//!
//! The created rows are those that the hooks are for.

use std::{any::Any, collections::HashMap};

use crate::{
    model::model_id::ModelId,
    transaction::callback::Callback,
    transaction::hooks::{CreatedRows, Hook, Hooks},
};

/// Callbacks and hooks in the order registered.
///
/// What is registered inside a savepoint is forgotten with it.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Vec<Waiting>,
    /// Number of entries that have been taken out.
    ///
    /// Places are counted from the transaction's begin.
    taken: usize,
    /// Created rows of the models that have hooks.
    ///
    /// It is looked into for each created row, so the row costs the same however much waits.
    created: CreatedRows,
}

enum Waiting {
    Callback(Callback),
    Hook(Hook),
}

/// The length of the queue when a savepoint was set.
pub(super) struct Mark {
    place: usize,
    created: HashMap<ModelId, usize>,
}

impl Queue {
    pub(super) fn new(hooks: &Hooks) -> Self {
        let mut queue = Self::default();
        for hook in hooks.iter().cloned() {
            queue.hook(hook);
        }
        queue
    }

    pub(crate) fn callback(&mut self, callback: Callback) {
        self.waiting.push(Waiting::Callback(callback));
    }

    pub(crate) fn hook(&mut self, hook: Hook) {
        self.created.gather_for(&hook, self.place());
        self.waiting.push(Waiting::Hook(hook));
    }

    /// Tests if a hook waits for this model's created rows.
    pub(crate) fn wants_created(&self, model: ModelId) -> bool {
        self.created.gathers(model)
    }

    /// Takes a row out of its `Option<M>`, if a hook waits.
    ///
    /// The row is a created one of this model.
    pub(crate) fn created(&mut self, model: ModelId, row: &mut dyn Any) {
        self.created.push(model, row);
    }

    /// Takes out the callbacks to run after the commit.
    pub(crate) fn take(&mut self) -> Vec<Callback> {
        self.taken = self.place();
        let mut created = std::mem::take(&mut self.created);
        let callback = |waiting| match waiting {
            Waiting::Callback(callback) => Some(callback),
            Waiting::Hook(hook) => hook.callback(&mut created),
        };
        std::mem::take(&mut self.waiting).into_iter().filter_map(callback).collect()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { place: self.place(), created: self.created.lengths() }
    }

    pub(super) fn return_to(&mut self, mark: &Mark) {
        self.waiting.truncate(mark.place.saturating_sub(self.taken));
        self.created.return_to(mark.place, &mark.created);
    }

    /// The place of what is registered next.
    fn place(&self) -> usize {
        self.taken + self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::{model::model_id::COMPARED, transaction::callback::run_callbacks};

    type Seen = Arc<Mutex<Vec<String>>>;

    fn hook<M: std::fmt::Debug + Send + Sync + 'static>(name: &'static str, seen: &Seen) -> Hook {
        let seen = Arc::clone(seen);
        Hook::new(async move |rows: Arc<[M]>| seen.lock().unwrap().push(format!("{name} {rows:?}")))
    }

    fn callback(name: &'static str, seen: &Seen) -> Callback {
        let seen = Arc::clone(seen);
        Callback::new(async move { seen.lock().unwrap().push(name.to_owned()) })
    }

    fn create<M: Send + 'static>(queue: &mut Queue, row: M) {
        queue.created(ModelId::of::<M>(), &mut Some(row));
    }

    fn ran(queue: &mut Queue, seen: &Seen) -> Vec<String> {
        let ran = run_callbacks(queue.take()).now_or_never();
        assert!(ran.is_some_and(|ran| ran.failures().is_empty()));
        std::mem::take(&mut *seen.lock().unwrap())
    }

    #[test]
    fn a_row_is_looked_up_among_the_models_that_have_hooks_and_not_among_what_waits() {
        let seen = Seen::default();
        let mut queue = Queue::default();
        for _ in 0..1_000 {
            queue.callback(callback("before", &seen));
            queue.hook(hook::<u8>("a", &seen));
            queue.hook(hook::<i64>("b", &seen));
        }
        assert_eq!((queue.waiting.len(), queue.created.len()), (3_000, 2));
        let before = queue.mark();
        queue.callback(callback("inside", &seen));
        queue.hook(hook::<u16>("c", &seen));
        assert_eq!(queue.created.len(), 3);
        queue.return_to(&before);
        assert_eq!((queue.waiting.len(), queue.created.len()), (3_000, 2));
        assert_eq!(queue.take().len(), 1_000, "no row was created, so no hook has anything to do");
        assert_eq!(queue.created.len(), 0);
    }

    #[test]
    fn a_row_is_compared_with_no_more_models_than_have_hooks_however_much_waits() {
        let seen = Seen::default();
        let mut queue = Queue::default();
        for _ in 0..1_000 {
            queue.hook(hook::<u8>("a", &seen));
            queue.callback(callback("between", &seen));
        }
        queue.hook(hook::<i64>("b", &seen));
        for row in 0..1_000_i64 {
            COMPARED.set(0);
            create(&mut queue, row);
            create(&mut queue, 'c');
            assert!(queue.wants_created(ModelId::of::<i64>()) && !queue.wants_created(ModelId::of::<char>()));
            let compared = COMPARED.get();
            assert!((2..=4 * queue.created.len()).contains(&compared), "{compared} comparisons for row {row}");
        }
    }

    #[test]
    fn callbacks_and_hooks_run_in_the_order_registered() {
        let seen = Seen::default();
        let mut queue = Queue::default();
        create(&mut queue, 1_u8);
        queue.callback(callback("first", &seen));
        queue.hook(hook::<u8>("second", &seen));
        create(&mut queue, 2_u8);
        create(&mut queue, 7_i64);
        queue.callback(callback("third", &seen));
        queue.hook(hook::<i64>("fourth", &seen));
        queue.hook(hook::<u8>("fifth", &seen));
        create(&mut queue, 3_u8);
        create(&mut queue, 8_i64);
        assert_eq!(
            ran(&mut queue, &seen),
            ["first", "second [2, 3]", "third", "fourth [8]", "fifth [2, 3]"],
            "rows count from their model's first hook on"
        );
        assert_eq!(ran(&mut queue, &seen), [""; 0]);
    }

    #[test]
    fn a_savepoint_forgets_what_was_registered_and_created_inside_and_nothing_else() {
        let seen = Seen::default();
        let mut queue = Queue::default();
        queue.hook(hook::<u8>("outer", &seen));
        create(&mut queue, 1_u8);
        let outer = queue.mark();
        queue.hook(hook::<u8>("inner", &seen));
        queue.hook(hook::<i64>("other", &seen));
        create(&mut queue, 2_u8);
        create(&mut queue, 7_i64);
        let inner = queue.mark();
        queue.callback(callback("innermost", &seen));
        create(&mut queue, 3_u8);
        create(&mut queue, 8_i64);
        queue.return_to(&inner);
        assert!(queue.wants_created(ModelId::of::<i64>()));
        queue.return_to(&outer);
        assert!(queue.wants_created(ModelId::of::<u8>()) && !queue.wants_created(ModelId::of::<i64>()));
        create(&mut queue, 4_u8);
        create(&mut queue, 9_i64);
        queue.hook(hook::<i64>("later", &seen));
        create(&mut queue, 10_i64);
        assert_eq!(ran(&mut queue, &seen), ["outer [1, 4]", "later [10]"]);
    }

    #[test]
    fn a_savepoint_forgets_what_was_registered_inside_after_the_queue_was_taken() {
        let seen = Seen::default();
        let mut queue = Queue::default();
        queue.hook(hook::<u8>("outer", &seen));
        create(&mut queue, 1_u8);
        queue.callback(callback("outer", &seen));
        let mark = queue.mark();
        assert_eq!(ran(&mut queue, &seen), ["outer [1]", "outer"]);
        queue.callback(callback("inside", &seen));
        queue.hook(hook::<u8>("inside", &seen));
        create(&mut queue, 2_u8);
        queue.return_to(&mark);
        queue.callback(callback("after", &seen));
        create(&mut queue, 3_u8);
        assert_eq!(ran(&mut queue, &seen), ["after"]);
    }
}
