//! The engine on a toy cloud: order, failures, repair after a broken connection, orphans, and resources of others.

mod cloud;
mod takeover;

use std::sync::atomic::Ordering;

use deployer::engine::{AT_ONCE, Change, Error, Event, Pace, Retry, Stack, Step, Tags};

use cloud::{Cloud, Crate, Settings, all_done, apply, plan, stack};

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
