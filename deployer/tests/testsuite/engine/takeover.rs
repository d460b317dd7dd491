//! Resources of other owners, and stacks that are taken over.

use deployer::engine::{Change, Error, Event, Finding, Outcome, Pace, RESOURCE_TAG, STACK_TAG, Stack, Step, Tags};

use super::cloud::{Box_, Cloud, Crate, Settings, all_done, plan, stack};

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
    assert_eq!(listed.lines[0].step, Step::Update(vec![change]), "ownership tags do not count as a difference");
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
