//! The functions that exist, shared by the control plane and the runtime.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};

use super::Function;
use super::states::States;
use kit::speed::Speed;

/// Every function by its name, and what it is in the middle of.
#[derive(Debug)]
pub struct Registry {
    functions: Mutex<BTreeMap<String, Function>>,
    /// What state each function is in, and until when.
    pub states: States,
}

impl Registry {
    /// A registry of these functions.
    pub fn new(functions: BTreeMap<String, Function>, speed: Speed) -> Registry {
        Registry { functions: Mutex::new(functions), states: States::at(speed) }
    }

    /// How fast everything goes.
    pub fn speed(&self) -> Speed {
        self.states.speed
    }

    /// The function that answers calls of this name now.
    pub fn answering(&self, name: &str) -> Option<Function> {
        let current = self.functions().get(name).cloned()?;
        Some(self.states.answering(current))
    }

    /// Lets a changed function answer from now on. Returns whether this change was still under way.
    pub fn take_over(&self, function: &Function) -> bool {
        self.states.take_over(&function.name, &function.revision)
    }

    /// The change of a function is over.
    pub fn settle(&self, function: &Function) {
        self.states.forget(&function.name);
    }

    /// The functions by name, locked.
    pub fn functions(&self) -> MutexGuard<'_, BTreeMap<String, Function>> {
        self.functions.lock()
    }
}
