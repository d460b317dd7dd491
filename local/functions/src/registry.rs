//! The functions, shared by the control plane and the runtime.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};

use super::Function;
use super::states::States;
use kit::speed::Speed;

/// All functions by name, and their state transitions.
#[derive(Debug)]
pub struct Registry {
    functions: Mutex<BTreeMap<String, Function>>,
    /// The state transition of each function.
    pub states: States,
}

impl Registry {
    /// A registry of these functions.
    pub fn new(functions: BTreeMap<String, Function>, speed: Speed) -> Registry {
        Registry { functions: Mutex::new(functions), states: States::at(speed) }
    }

    /// The speed of state transitions.
    pub fn speed(&self) -> Speed {
        self.states.speed
    }

    /// Returns the revision of a function that currently answers invocations.
    pub fn answering(&self, name: &str) -> Option<Function> {
        let current = self.functions().get(name).cloned()?;
        Some(self.states.answering(current))
    }

    /// Puts a changed function into use. Returns `false` if this change has been superseded.
    pub fn take_over(&self, function: &Function) -> bool {
        self.states.take_over(&function.name, &function.revision)
    }

    /// Ends the state transition of a function.
    pub fn settle(&self, function: &Function) {
        self.states.forget(&function.name);
    }

    /// The functions by name, locked.
    pub fn functions(&self) -> MutexGuard<'_, BTreeMap<String, Function>> {
        self.functions.lock()
    }
}
