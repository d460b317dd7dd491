//! A state that is written to disk as a whole before a change is acknowledged.

use std::path::{Path, PathBuf};

use anyhow::Context;
use kit::answer::Refusal;
use kit::store;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The state of a service and its file.
pub struct JsonState<T> {
    file: PathBuf,
    state: Mutex<T>,
}

impl<T: Clone + Default + Serialize + DeserializeOwned> JsonState<T> {
    /// Reads the state in a file; without the file, it is empty.
    pub fn open(dir: &Path, name: &str) -> anyhow::Result<JsonState<T>> {
        let file = dir.join(name);
        let state = store::read_json(&file).with_context(|| format!("{} is not a state file", file.display()))?;
        Ok(JsonState { file, state: Mutex::new(state.unwrap_or_default()) })
    }

    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.state.lock())
    }

    /// Applies a change. If it fails, or cannot be written to disk, the state stays as it was.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> Result<R, Refusal>) -> Result<R, Refusal> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        let done = change(&mut next)?;
        store::write_json(&self.file, &next).map_err(|fault| {
            let text = format!("the local AWS cannot write its secrets: {fault}");
            Refusal::new(500, "InternalServiceError", text)
        })?;
        *state = next;
        Ok(done)
    }
}
