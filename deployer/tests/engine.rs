//! The engine on a toy cloud: order, failures, repair after a broken connection, orphans, and resources of others.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use deployer::engine::{
    AT_ONCE, Applied, Change, Error, Event, Fault, Finding, Live, Observed, Outcome, Owner, Pace, Plan, RESOURCE_TAG,
    Removal, Resource, Retry, STACK_TAG, Stack, Step, Tags,
};
use parking_lot::Mutex;
use serde::Serialize;

/// A cloud of boxes with a size, and a connection to it that can be cut after a number of answers.
#[derive(Default)]
struct Cloud {
    boxes: Mutex<BTreeMap<String, Box_>>,
    calls: Mutex<Vec<String>>,
    answers_left: Mutex<Option<usize>>,
    is_down_for_one: AtomicBool,
    forbidden: Mutex<Option<&'static str>>,
    refusals: AtomicUsize,
    half_seen: AtomicUsize,
    on_the_way: AtomicUsize,
    most_on_the_way: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq)]
struct Box_ {
    size: u32,
    filled: bool,
    tags: Tags,
    rounds_to_settle: usize,
}

impl Cloud {
    fn cut_after(&self, answers: usize) {
        *self.answers_left.lock() = Some(answers);
    }

    /// Only this one answer is lost; the next call succeeds.
    fn lose_answer(&self, nth: usize) {
        self.cut_after(nth);
        self.is_down_for_one.store(true, Ordering::SeqCst);
    }

    fn refuse_for_good(&self, what: &'static str) {
        *self.forbidden.lock() = Some(what);
    }

    fn mend(&self) {
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

    fn mutating(&self) -> Vec<String> {
        self.calls.lock().iter().filter(|call| !call.starts_with("read")).cloned().collect()
    }
}

#[derive(Clone)]
struct Crate {
    name: String,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
struct Settings {
    size: u32,
    filled: bool,
    colour: &'static str,
}

impl Removal for Crate {}

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

fn stack(size: u32) -> Stack<Cloud> {
    let mut stack = Stack::new("toys", Tags::new());
    let settings = move |_| Settings { size, filled: true, colour: "red" };
    let base = stack.add("base", Crate { name: "base".into() }, (), settings);
    let left = stack.add("left", Crate { name: "left".into() }, base, move |_| settings(()));
    stack.add("right", Crate { name: "right".into() }, base, move |_| settings(()));
    stack.add("top", Crate { name: "top".into() }, left, move |_| settings(()));
    stack
}

async fn plan(stack: &Stack<Cloud>, cloud: &Cloud) -> Result<Plan, Error> {
    stack.plan(cloud, None).await
}

async fn apply(stack: &Stack<Cloud>, cloud: &Cloud) -> Result<Vec<Outcome>, Error> {
    let plan = plan(stack, cloud).await?;
    let Applied { outcomes, .. } = stack.apply(cloud, plan, &Pace::default(), &|_: Event| ()).await;
    Ok(outcomes)
}

fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(Outcome::is_done)
}

#[tokio::test(start_paused = true)]
async fn dependencies_come_first_and_a_second_run_changes_nothing() {
    let cloud = Cloud::default();
    assert!(all_done(&apply(&stack(1), &cloud).await.unwrap()));
    let made: Vec<String> = cloud.mutating().into_iter().filter(|call| call.starts_with("create")).collect();
    assert_eq!(made.first().map(String::as_str), Some("create base"));
    let place = |name: &str| made.iter().position(|call| call == name).expect("it was created");
    assert!(place("create left") < place("create top"));

    cloud.calls.lock().clear();
    assert!(plan(&stack(1), &cloud).await.unwrap().is_empty());
    assert!(apply(&stack(1), &cloud).await.unwrap().is_empty());
    assert_eq!(cloud.mutating(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_changed_setting_is_changed_in_place_and_nothing_else() {
    let cloud = Cloud::default();
    apply(&stack(1), &cloud).await.unwrap();
    cloud.boxes.lock().get_mut("right").unwrap().size = 9;
    let plan = plan(&stack(1), &cloud).await.unwrap();
    let changed: Vec<_> = plan.lines.iter().filter(|line| line.step != Step::Keep).collect();
    assert_eq!(changed.len(), 1);
    let change = Change::of("size", Some("9".into()), Some("1".into()));
    assert_eq!(changed[0].step, Step::Update(vec![change]));
    cloud.calls.lock().clear();
    apply(&stack(1), &cloud).await.unwrap();
    assert_eq!(cloud.mutating(), ["resize right"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_after_any_answer_is_repaired_by_applying_again() {
    for answers in 1.. {
        let cloud = Cloud::default();
        cloud.cut_after(answers);
        let survived = matches!(apply(&stack(1), &cloud).await, Ok(outcomes) if all_done(&outcomes));
        cloud.mend();
        assert!(all_done(&apply(&stack(1), &cloud).await.unwrap()), "cut after {answers}");
        assert!(plan(&stack(1), &cloud).await.unwrap().is_empty(), "cut after {answers}");
        let boxes = cloud.boxes.lock();
        assert!(boxes.len() == 4 && boxes.values().all(|found| found.filled), "cut after {answers}: {boxes:?}");
        if survived {
            assert!(answers > 8, "the line was cut at least once per mutating call");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_error_when_the_call_took_effect() {
    let reads = 4;
    for nth in reads + 1.. {
        let cloud = Cloud::default();
        cloud.lose_answer(nth);
        let outcomes = apply(&stack(1), &cloud).await.unwrap();
        let lost = cloud.calls.lock().get(nth - 1).cloned();
        if cloud.answers_left.lock().is_some() {
            return;
        }
        let is_read = lost.as_ref().is_some_and(|lost| lost.starts_with("read"));
        assert!(is_read || all_done(&outcomes), "the answer to {lost:?} was lost: {outcomes:?}");
        assert!(is_read || cloud.mutating().len() == 8, "{lost:?} was made once: {:?}", cloud.mutating());
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_is_not_retried() {
    let cloud = Cloud::default();
    cloud.refuse_for_good("create base");
    let outcomes = apply(&stack(1), &cloud).await.unwrap();
    let Some(Err(Error::Fault { source, .. })) = &outcomes[0].result else { panic!("{outcomes:?}") };
    assert_eq!(source.code, "AccessDenied");
    assert_eq!(cloud.mutating(), ["create base"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_what_needs_it_and_finishes_the_rest() {
    let cloud = Cloud::default();
    let mut toys = Stack::new("toys", Tags::new());
    let settings = |_| Settings { size: 1, filled: true, colour: "red" };
    let base = toys.add("base", Crate { name: "base".into() }, (), settings);
    let blue = move |_| Settings { size: 1, filled: true, colour: "blue" };
    let broken = toys.add("broken", Crate { name: "broken".into() }, base, blue);
    toys.add("after", Crate { name: "after".into() }, broken, move |_| settings(()));
    toys.add("beside", Crate { name: "beside".into() }, base, move |_| settings(()));
    let outcomes = apply(&toys, &cloud).await.unwrap();
    let result = |key: &str| &outcomes.iter().find(|outcome| outcome.address.key == key).unwrap().result;
    assert!(matches!(result("broken"), Some(Err(Error::MustReplace { .. }))));
    assert!(result("after").is_none());
    assert!(matches!(result("beside"), Some(Ok(()))));
    assert!(!cloud.boxes.lock().contains_key("after"));
}

#[tokio::test(start_paused = true)]
async fn not_yet_is_retried_within_its_budget() {
    let cloud = Cloud::default();
    cloud.refusals.store(5, Ordering::SeqCst);
    assert!(all_done(&apply(&stack(1), &cloud).await.unwrap()));

    let cloud = Cloud::default();
    cloud.refusals.store(usize::MAX, Ordering::SeqCst);
    let outcomes = apply(&stack(1), &cloud).await.unwrap();
    let Some(Err(Error::Fault { source, .. })) = &outcomes[0].result else { panic!("{outcomes:?}") };
    assert_eq!((source.code.as_str(), source.retry != Retry::Never), ("NotYet", true));
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_vanishes_while_it_is_read_is_read_again() {
    let cloud = Cloud::default();
    cloud.half_seen.store(5, Ordering::SeqCst);
    assert!(all_done(&apply(&stack(1), &cloud).await.unwrap()));
    cloud.half_seen.store(5, Ordering::SeqCst);
    let removal = stack(1).plan_removal(&cloud, &Default::default()).await.unwrap();
    assert!(all_done(&stack(1).remove(&cloud, removal, &Pace::default(), &|_: Event| ()).await));
    cloud.half_seen.store(usize::MAX, Ordering::SeqCst);
    assert!(matches!(plan(&stack(1), &cloud).await, Err(Error::Fault { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_resource_is_refused_and_left_unchanged() {
    for owner in [None, Some("others")] {
        let cloud = Cloud::default();
        let tags: Tags = owner.into_iter().map(|owner| (STACK_TAG.to_owned(), owner.to_owned())).collect();
        let theirs = Box_ { size: 7, filled: false, tags, rounds_to_settle: 0 };
        cloud.boxes.lock().insert("left".into(), theirs.clone());
        assert!(matches!(plan(&stack(1), &cloud).await, Err(Error::Foreign { .. })));
        let removal = stack(1).plan_removal(&cloud, &Default::default()).await.unwrap();
        assert!(matches!(removal.lines[0].step, Step::Foreign { .. }));
        stack(1).remove(&cloud, removal, &Pace::default(), &|_: Event| ()).await;
        assert_eq!(cloud.boxes.lock().get("left"), Some(&theirs));
        assert_eq!(cloud.mutating(), Vec::<String>::new());
    }
}

/// Three boxes of the stack that another tool has made, some of which another stack owns.
fn made_elsewhere(foreign: &[&str]) -> Cloud {
    let cloud = Cloud::default();
    for name in ["base", "left", "right"] {
        let owner = foreign.contains(&name).then(|| (STACK_TAG.to_owned(), "others".to_owned()));
        let tags = owner.into_iter().chain([("team".to_owned(), "a".to_owned())]).collect();
        cloud.boxes.lock().insert(name.into(), Box_ { size: 7, filled: true, tags, rounds_to_settle: 0 });
    }
    cloud
}

fn lister() -> Stack<Cloud> {
    let mut toys = stack(1);
    toys.list_owners();
    toys
}

async fn take_over(cloud: &Cloud) -> Result<Vec<Outcome>, Error> {
    let toys = lister();
    let plan = plan(&toys, cloud).await?;
    Ok(toys.take_over(cloud, &plan, &Pace::default(), &|_: Event| ()).await)
}

/// The tags of a box after it was taken over.
fn taken_over(name: &str) -> Tags {
    let ours = [(STACK_TAG, "toys".to_owned()), (RESOURCE_TAG, format!("crate.{name}")), ("team", "a".to_owned())];
    ours.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[tokio::test(start_paused = true)]
async fn owners_are_listed_and_only_resources_without_one_get_ownership_tags() {
    let cloud = made_elsewhere(&["left"]);
    let theirs = cloud.boxes.lock()["left"].clone();
    let listed = plan(&lister(), &cloud).await.unwrap();
    let findings: Vec<Finding> = listed.lines.iter().map(|line| line.finding()).collect();
    assert_eq!(findings, [Finding::Free, Finding::Foreign, Finding::Free, Finding::Absent]);
    let change = Change::of("size", Some("7".into()), Some("1".into()));
    assert_eq!(listed.lines[0].step, Step::Update(vec![change]), "the ownership tags are no difference");
    assert_eq!(cloud.mutating(), Vec::<String>::new());

    let outcomes = take_over(&cloud).await.unwrap();
    assert!(outcomes.len() == 2 && all_done(&outcomes), "{outcomes:?}");
    let mut calls = cloud.mutating();
    calls.sort();
    assert_eq!(calls, ["tag base", "tag right"]);
    for name in ["base", "right"] {
        let found = cloud.boxes.lock()[name].clone();
        assert_eq!(found, Box_ { size: 7, filled: true, tags: taken_over(name), rounds_to_settle: 0 });
    }
    assert_eq!(cloud.boxes.lock()["left"], theirs);
    assert!(take_over(&cloud).await.unwrap().is_empty(), "nothing is left to take over");
    assert_eq!(cloud.mutating().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_is_fixed_at_creation_prevents_a_takeover() {
    let cloud = made_elsewhere(&[]);
    let mut toys = Stack::new("toys", Tags::new());
    let blue = |_| Settings { size: 7, filled: true, colour: "blue" };
    toys.add("base", Crate { name: "base".into() }, (), blue);
    toys.list_owners();
    let listed = plan(&toys, &cloud).await.unwrap();
    assert_eq!(listed.lines[0].finding(), Finding::Fixed);
    assert!(toys.take_over(&cloud, &listed, &Pace::default(), &|_: Event| ()).await.is_empty());
    assert_eq!(cloud.mutating(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_is_cut_after_any_answer_is_completed_by_the_next() {
    for answers in 1.. {
        let cloud = made_elsewhere(&[]);
        cloud.cut_after(answers);
        let survived = matches!(take_over(&cloud).await, Ok(outcomes) if all_done(&outcomes));
        cloud.mend();
        assert!(all_done(&take_over(&cloud).await.unwrap()), "cut after {answers}");
        for (name, found) in &*cloud.boxes.lock() {
            assert_eq!((found.size, &found.tags), (7, &taken_over(name)), "cut after {answers}");
        }
        assert!(cloud.mutating().iter().all(|call| call.starts_with("tag ")), "{:?}", cloud.mutating());
        if survived {
            assert!(answers > 6, "the line was cut at least once per tag");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn resources_that_get_another_owner_after_the_list_are_left_alone() {
    let cloud = made_elsewhere(&[]);
    let toys = lister();
    let listed = plan(&toys, &cloud).await.unwrap();
    cloud.boxes.lock().get_mut("base").unwrap().tags.insert(STACK_TAG.into(), "others".into());
    let theirs = cloud.boxes.lock()["base"].clone();
    cloud.boxes.lock().remove("left");
    let outcomes = toys.take_over(&cloud, &listed, &Pace::default(), &|_: Event| ()).await;
    let result = |key: &str| &outcomes.iter().find(|outcome| outcome.address.key == key).unwrap().result;
    assert!(matches!(result("base"), Some(Err(Error::Foreign { is_free: false, .. }))));
    assert!(matches!(result("left"), Some(Err(Error::Fault { verb: "tag", .. }))));
    assert!(matches!(result("right"), Some(Ok(()))));
    assert_eq!(cloud.mutating(), ["tag right"]);
    assert_eq!(cloud.boxes.lock()["base"], theirs);
    assert!(!cloud.boxes.lock().contains_key("left"), "a resource that is absent is not created");
}

#[tokio::test(start_paused = true)]
async fn a_removal_runs_in_reverse_order_and_a_second_one_does_nothing() {
    let cloud = Cloud::default();
    apply(&stack(1), &cloud).await.unwrap();
    cloud.calls.lock().clear();
    let removal = stack(1).plan_removal(&cloud, &Default::default()).await.unwrap();
    assert!(all_done(&stack(1).remove(&cloud, removal, &Pace::default(), &|_: Event| ()).await));
    let gone = cloud.mutating();
    assert_eq!((gone.len(), gone.last().map(String::as_str)), (4, Some("delete base")));
    assert!(stack(1).plan_removal(&cloud, &Default::default()).await.unwrap().lines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn orphans_are_removed_after_everything_else_is_as_wanted() {
    let cloud = Cloud::default();
    apply(&stack(1), &cloud).await.unwrap();
    let mut smaller = Stack::new("toys", Tags::new());
    smaller.add("base", Crate { name: "base".into() }, (), |_| Settings { size: 2, filled: true, colour: "red" });
    for name in ["base", "left", "top"] {
        smaller.doom(Crate { name: name.into() });
    }
    cloud.calls.lock().clear();
    assert!(all_done(&apply(&smaller, &cloud).await.unwrap()));
    let calls = cloud.mutating();
    assert_eq!(calls.first().map(String::as_str), Some("resize base"));
    assert_eq!(calls.len(), 3, "{calls:?}");
    let left: Vec<String> = cloud.boxes.lock().keys().cloned().collect();
    assert_eq!(left, ["base", "right"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_between_two_calls() {
    let cloud = Cloud::default();
    let toys = stack(1);
    let plan = plan(&toys, &cloud).await.unwrap();
    let pace = Pace::default();
    let stop = pace.stop.clone();
    let observer = move |_: Event| stop.cancel();
    let applied = toys.apply(&cloud, plan, &pace, &observer).await;
    assert!(matches!(applied.outcomes[0].result, Some(Err(Error::Interrupted { .. }))));
    assert!(all_done(&apply(&stack(1), &cloud).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_calls_in_flight_holds_for_every_command() {
    let cloud = Cloud::default();
    let wide = |size: u32| {
        let mut toys = Stack::new("toys", Tags::new());
        let settings = move |_| Settings { size, filled: true, colour: "red" };
        let base = toys.add("base", Crate { name: "base".into() }, (), settings);
        for number in 0..5 * AT_ONCE {
            let name = format!("toy-{number}");
            toys.add(name.clone(), Crate { name }, base, move |_| settings(()));
        }
        toys
    };
    let most = || cloud.most_on_the_way.swap(0, Ordering::SeqCst);
    assert!(all_done(&apply(&wide(1), &cloud).await.unwrap()));
    assert_eq!(most(), AT_ONCE, "creating");
    assert!(all_done(&apply(&wide(2), &cloud).await.unwrap()));
    assert_eq!(most(), AT_ONCE, "changing");
    let mut gone = Stack::new("toys", Tags::new());
    gone.add("base", Crate { name: "base".into() }, (), |_| Settings { size: 2, filled: true, colour: "red" });
    (0..2 * AT_ONCE).for_each(|number| gone.doom(Crate { name: format!("toy-{number}") }));
    assert!(all_done(&apply(&gone, &cloud).await.unwrap()));
    assert_eq!(most(), AT_ONCE, "removing what is no longer wanted");
    let removal = wide(2).plan_removal(&cloud, &Default::default()).await.unwrap();
    assert!(all_done(&wide(2).remove(&cloud, removal, &Pace::default(), &|_: Event| ()).await));
    assert_eq!(most(), AT_ONCE, "removing everything");
    assert!(cloud.boxes.lock().is_empty());
}
