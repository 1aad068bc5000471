//! The identity of a model.

use std::{
    any::TypeId,
    hash::{Hash, Hasher},
};

/// The identity of a model, by which its rows and hooks come together.
///
/// The tests count how often two are compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelId(TypeId);

impl ModelId {
    pub(crate) fn of<M: 'static>() -> Self {
        Self(TypeId::of::<M>())
    }
}

impl PartialEq for ModelId {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        COMPARED.set(COMPARED.get() + 1);
        self.0 == other.0
    }
}

impl Eq for ModelId {}

impl Hash for ModelId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
thread_local! {
    /// Number of comparisons of models on this thread.
    pub(crate) static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
