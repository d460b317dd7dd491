//! The server's clock, taken from its answers, so that ages do not depend on our clock.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeDeserializationInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{DateTime, config_bag::ConfigBag, date_time::Format};
use parking_lot::Mutex;

/// The `Date` header of an answer. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ServerTime(Arc<Mutex<Option<SystemTime>>>);

impl ServerTime {
    /// The time of the answer, or our own if it had none.
    pub fn get(&self) -> SystemTime {
        self.0.lock().unwrap_or_else(SystemTime::now)
    }
}

/// When a run began by AWS's clock, according to its first answer. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Began(Arc<OnceLock<SystemTime>>);

impl Began {
    /// The time of the first answer; our own before it, or if it had none.
    pub fn get(&self) -> SystemTime {
        self.0.get().copied().unwrap_or_else(SystemTime::now)
    }

    /// Whether there has been an answer.
    pub fn is_known(&self) -> bool {
        self.0.get().is_some()
    }
}

fn date(context: &BeforeDeserializationInterceptorContextRef<'_>) -> Option<SystemTime> {
    let date = context.response().headers().get("date")?;
    SystemTime::try_from(DateTime::from_str(date, Format::HttpDate).ok()?).ok()
}

#[dyn_dispatch_hint]
impl Intercept for Began {
    fn name(&self) -> &'static str {
        "began"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.get_or_init(|| date(context).unwrap_or_else(SystemTime::now));
        Ok(())
    }
}

#[dyn_dispatch_hint]
impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "server time"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock() = date(context);
        Ok(())
    }
}
