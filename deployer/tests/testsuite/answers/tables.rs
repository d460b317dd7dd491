//! Tables: what is not decided while AWS is still changing one.

use aws_sdk_dynamodb::types::AttributeValue;
use testkit::proxy::InjectedFault;

use crate::support::cloud::connect;
use crate::support::scene::{Phase, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_that_is_being_updated_are_not_deleted_before_it_is_confirmed() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    let tables = aws.dynamodb.list_tables().send().await.expect("there are tables").table_names.unwrap_or_default();
    let table = tables.iter().find(|name| name.ends_with("-posts")).expect("there is the one of posts");
    let text = || AttributeValue::S("a".into());
    let put = aws.dynamodb.put_item().table_name(table).item("user", text()).item("id", text());
    put.send().await.expect("a row can be put");
    let attribute = async || {
        let call = aws.dynamodb.describe_time_to_live().table_name(table);
        call.send().await.expect("it is there").time_to_live_description.and_then(|it| it.attribute_name)
    };

    scene.project.edit("sort_key: id", "sort_key: id, time_to_live: ends");
    let updating = InjectedFault::reworded(&[("\"TableStatus\":\"ACTIVE\"", "\"TableStatus\":\"UPDATING\"")]);
    scene.proxy.inject(["DescribeTable"], updating, usize::MAX);
    let refused = scene.run(Phase::Up.arguments()).await;
    assert_eq!((refused.code, attribute().await), (1, None), "{}", refused.all());
    for text in [
        "table.posts is updating, so nothing was changed: DynamoDB would delete rows whose time in `ends` has passed; it \
         holds 1 row",
        "deployer up --expire table.posts",
        "stack.yaml:",
    ] {
        assert!(refused.stderr.contains(text), "{text:?} is missing: {}", refused.all());
    }

    // Once it is active, it is left as it is, or changed if that is confirmed.
    scene.proxy.reset();
    let left = scene.run(Phase::Up.arguments()).await;
    assert_eq!((left.code, attribute().await), (3, None), "{}", left.all());
    let named = scene.run(&[Phase::Up.arguments(), &["--expire", "table.posts"]].concat()).await;
    assert_eq!((named.code, attribute().await.as_deref()), (0, Some("ends")), "{}", named.all());
    scene.end().await;
}
