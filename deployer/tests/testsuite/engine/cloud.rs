//! A toy cloud, and a connection to it that can be cut.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use deployer::engine::{
    Applied, Error, Event, Fault, Live, Observed, Outcome, Owner, Pace, Plan, RemovalOrder, Resource, Stack, Tags,
};
use parking_lot::Mutex;
use serde::Serialize;

/// A cloud of boxes with a size, and a connection to it that can be cut after a number of answers.
#[derive(Default)]
pub(super) struct Cloud {
    pub(super) boxes: Mutex<BTreeMap<String, Box_>>,
    pub(super) calls: Mutex<Vec<String>>,
    pub(super) answers_left: Mutex<Option<usize>>,
    is_down_for_one: AtomicBool,
    forbidden: Mutex<Option<&'static str>>,
    pub(super) refusals: AtomicUsize,
    pub(super) half_seen: AtomicUsize,
    on_the_way: AtomicUsize,
    pub(super) most_on_the_way: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Box_ {
    pub(super) size: u32,
    pub(super) filled: bool,
    pub(super) tags: Tags,
    pub(super) rounds_to_settle: usize,
}

impl Cloud {
    pub(super) fn cut_after(&self, answers: usize) {
        *self.answers_left.lock() = Some(answers);
    }

    /// Only this one answer is lost; the next call succeeds.
    pub(super) fn lose_answer(&self, nth: usize) {
        self.cut_after(nth);
        self.is_down_for_one.store(true, Ordering::SeqCst);
    }

    pub(super) fn refuse_for_good(&self, what: &'static str) {
        *self.forbidden.lock() = Some(what);
    }

    pub(super) fn mend(&self) {
        *self.answers_left.lock() = None;
    }

    /// The effect takes place even if the answer is lost.
    fn call<T>(
        &self,
        what: String,
        effect: impl FnOnce(&mut BTreeMap<String, Box_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let left = *self.answers_left.lock();
        if left == Some(0) {
            return Err(Fault::new(&what, "Cut", "the line is cut"));
        }
        self.calls.lock().push(what.clone());
        if *self.forbidden.lock() == Some(&*what) {
            return Err(Fault::new(&what, "AccessDenied", "it is forbidden"));
        }
        let answer = effect(&mut self.boxes.lock());
        let Some(left) = left.map(|left| left - 1) else { return answer };
        let is_mended = left == 0 && self.is_down_for_one.load(Ordering::SeqCst);
        *self.answers_left.lock() = (!is_mended).then_some(left);
        if left == 0 { Err(Fault::new(&what, "Cut", "the answer was lost")) } else { answer }
    }

    /// Every call takes a while, during which other calls can start.
    async fn way(&self) {
        let now = self.on_the_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_on_the_way.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        self.on_the_way.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn mutating(&self) -> Vec<String> {
        self.calls.lock().iter().filter(|call| !call.starts_with("read")).cloned().collect()
    }
}

#[derive(Clone)]
pub(super) struct Crate {
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
pub(super) struct Settings {
    pub(super) size: u32,
    pub(super) filled: bool,
    pub(super) colour: &'static str,
}

impl RemovalOrder for Crate {}

impl Resource for Crate {
    const KIND: &'static str = "crate";
    const FIXED: &'static [&'static str] = &["colour"];
    type Cloud = Cloud;
    type Settings = Settings;
    type Output = String;

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, cloud: &Cloud) -> Result<Observed<Self>, Fault> {
        cloud.way().await;
        if cloud.half_seen.load(Ordering::SeqCst) > 0 {
            cloud.half_seen.fetch_sub(1, Ordering::SeqCst);
            let fault = Fault::new("tags", "NotFound", "it was there a moment ago");
            return Err(fault.within(std::time::Duration::from_secs(30)));
        }
        cloud.call(format!("read {}", self.name), |boxes| {
            let Some(found) = boxes.get_mut(&self.name) else { return Ok(Observed::Absent) };
            if found.rounds_to_settle > 0 {
                found.rounds_to_settle -= 1;
                return Ok(Observed::Settling("settling".into()));
            }
            Ok(Observed::Present(Live {
                settings: Settings { size: found.size, filled: found.filled, colour: "red" },
                output: format!("id-of-{}", self.name),
                owner: Owner::Tags(found.tags.clone()),
            }))
        })
    }

    async fn create(&self, cloud: &Cloud, want: &Settings, tags: &Tags) -> Result<Option<Live<Self>>, Fault> {
        cloud.way().await;
        if cloud.refusals.load(Ordering::SeqCst) > 0 {
            cloud.refusals.fetch_sub(1, Ordering::SeqCst);
            let fault = Fault::new("create", "NotYet", "not yet");
            return Err(fault.within(std::time::Duration::from_secs(120)));
        }
        cloud.call(format!("create {}", self.name), |boxes| {
            let made = Box_ { size: want.size, filled: false, tags: tags.clone(), rounds_to_settle: 2 };
            match boxes.insert(self.name.clone(), made) {
                None => Ok(None),
                Some(_) => Err(Fault::new("create", "Exists", "created twice")),
            }
        })
    }

    async fn update(&self, cloud: &Cloud, want: &Settings, live: &Live<Self>) -> Result<(), Fault> {
        cloud.way().await;
        if live.settings.size != want.size {
            cloud.call(format!("resize {}", self.name), |boxes| {
                boxes.get_mut(&self.name).expect("it was read").size = want.size;
                Ok(())
            })?;
        }
        if live.settings.filled != want.filled {
            cloud.call(format!("fill {}", self.name), |boxes| {
                boxes.get_mut(&self.name).expect("it was read").filled = want.filled;
                Ok(())
            })?;
        }
        Ok(())
    }

    async fn tag(&self, cloud: &Cloud, _: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        cloud.way().await;
        cloud.call(format!("tag {}", self.name), |boxes| {
            boxes.get_mut(&self.name).expect("it was read").tags.extend(tags.clone());
            Ok(())
        })
    }

    async fn delete(&self, cloud: &Cloud, _: &Live<Self>) -> Result<(), Fault> {
        cloud.way().await;
        cloud.call(format!("delete {}", self.name), |boxes| {
            boxes.remove(&self.name);
            Ok(())
        })
    }
}

pub(super) fn stack(size: u32) -> Stack<Cloud> {
    let mut stack = Stack::new("toys", Tags::new());
    let settings = move |_| Settings { size, filled: true, colour: "red" };
    let base = stack.add("base", Crate { name: "base".into() }, (), settings);
    let left = stack.add("left", Crate { name: "left".into() }, base, move |_| settings(()));
    stack.add("right", Crate { name: "right".into() }, base, move |_| settings(()));
    stack.add("top", Crate { name: "top".into() }, left, move |_| settings(()));
    stack
}

pub(super) async fn plan(stack: &Stack<Cloud>, cloud: &Cloud) -> Result<Plan, Error> {
    stack.plan(cloud, None).await
}

pub(super) async fn apply(stack: &Stack<Cloud>, cloud: &Cloud) -> Result<Vec<Outcome>, Error> {
    let plan = plan(stack, cloud).await?;
    let Applied { outcomes, .. } = stack.apply(cloud, plan, &Pace::default(), &|_: Event| ()).await;
    Ok(outcomes)
}

pub(super) fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(Outcome::is_done)
}
