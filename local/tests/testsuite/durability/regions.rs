//! The resources of regions, before and after a restart.

use aws_config::{Region, SdkConfig};
use local::{Cloud, Options};
use testkit::clients;

use super::kinds::{TRUST, new_table};

/// The clients of one region.
fn in_region(config: &SdkConfig, region: &'static str) -> SdkConfig {
    config.clone().into_builder().region(Region::new(region)).build()
}

#[tokio::test]
async fn every_region_has_its_own_resources_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // The regions work whatever the server's own region is.
    for (round, first) in [(0, "us-east-1"), (1, "eu-west-1")] {
        let options = Options { dir: dir.path().to_owned(), port: 0, region: first.to_owned() };
        let cloud = Cloud::start(options).await.unwrap();
        let config = clients::config(&cloud.endpoint()).await;
        let (here, there) = (in_region(&config, "us-east-1"), in_region(&config, "eu-west-1"));
        if round == 0 {
            fill_regions(&here, &there).await;
        }
        for (config, region, other) in [(&here, "us-east-1", "eu-west-1"), (&there, "eu-west-1", "us-east-1")] {
            see_region(config, region, other).await;
        }
        cloud.stop().await;
    }
}

/// Creates a table, a log group, a launch template and a bucket in each of two regions, and one role for both.
async fn fill_regions(here: &SdkConfig, there: &SdkConfig) {
    for (config, region) in [(here, "us-east-1"), (there, "eu-west-1")] {
        let tables = aws_sdk_dynamodb::Client::new(config);
        new_table(&tables, "posts").send().await.unwrap();
        clients::table_is_active(&tables, "posts").await;
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let put = tables.put_item().table_name("posts").item("name", text("where"));
        put.item("region", text(region)).send().await.unwrap();
        aws_sdk_cloudwatchlogs::Client::new(config).create_log_group().log_group_name(region).send().await.unwrap();
        let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().user_data("").build();
        let ec2 = aws_sdk_ec2::Client::new(config);
        ec2.create_launch_template().launch_template_name(region).launch_template_data(data).send().await.unwrap();
        let s3 = clients::s3(config);
        let create = s3.create_bucket().bucket(format!("in-{region}"));
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from("eu-west-1");
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build();
        let place = (region == "eu-west-1").then_some(place);
        create.set_create_bucket_configuration(place).send().await.unwrap();
        let object = s3.put_object().bucket(format!("in-{region}")).key("k");
        object.body(region.as_bytes().to_vec().into()).send().await.unwrap();
    }
    aws_sdk_iam::Client::new(there)
        .create_role()
        .role_name("both")
        .assume_role_policy_document(TRUST)
        .send()
        .await
        .unwrap();
}

/// Checks that a region shows its own resources and the global ones, and none of another region.
async fn see_region(config: &SdkConfig, region: &str, other: &str) {
    let tables = aws_sdk_dynamodb::Client::new(config);
    let key = aws_sdk_dynamodb::types::AttributeValue::S("where".to_owned());
    let found = tables.get_item().table_name("posts").key("name", key).send().await.unwrap();
    assert_eq!(found.item().unwrap()["region"].as_s().unwrap(), region);
    let groups = aws_sdk_cloudwatchlogs::Client::new(config).describe_log_groups().send().await.unwrap();
    let groups: Vec<&str> = groups.log_groups().iter().filter_map(|group| group.log_group_name()).collect();
    assert_eq!(groups, [region]);
    let ec2 = aws_sdk_ec2::Client::new(config);
    let templates = ec2.describe_launch_templates().send().await.unwrap();
    let templates: Vec<&str> =
        templates.launch_templates().iter().filter_map(|one| one.launch_template_name()).collect();
    assert_eq!(templates, [region]);
    let zones = ec2.describe_availability_zones().send().await.unwrap();
    assert!(zones.availability_zones().iter().all(|zone| zone.region_name() == Some(region)));
    assert!(aws_sdk_iam::Client::new(config).get_role().role_name("both").send().await.is_ok());

    let s3 = clients::s3(config);
    let object = s3.get_object().bucket(format!("in-{region}")).key("k").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().into_bytes(), region);
    let all = s3.list_buckets().send().await.unwrap();
    let all: Vec<_> = all.buckets().iter().map(|one| (one.name().unwrap(), one.bucket_region().unwrap())).collect();
    assert_eq!(all, [("in-eu-west-1", "eu-west-1"), ("in-us-east-1", "us-east-1")]);
    let elsewhere = format!("in-{other}");
    let refused = s3.get_object().bucket(&elsewhere).key("k").send().await.unwrap_err();
    let answer = refused.raw_response().unwrap();
    assert_eq!(answer.status().as_u16(), 301);
    assert_eq!(answer.headers().get("x-amz-bucket-region"), Some(other));
    let copy = s3.copy_object().bucket(format!("in-{region}")).key("copy").copy_source(format!("{elsewhere}/k"));
    assert_eq!(copy.send().await.unwrap_err().raw_response().unwrap().status().as_u16(), 501);
    let place = (region == "eu-west-1").then(|| {
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from(region);
        aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build()
    });
    let again = s3.create_bucket().bucket(&elsewhere).set_create_bucket_configuration(place).send().await.unwrap_err();
    assert_eq!(again.into_service_error().meta().code(), Some("BucketAlreadyOwnedByYou"));
    let location = s3.get_bucket_location().bucket(&elsewhere).send().await;
    match region {
        "us-east-1" => assert_eq!(location.unwrap().location_constraint().unwrap().as_str(), other),
        _ => assert_eq!(location.unwrap_err().raw_response().unwrap().status().as_u16(), 301),
    }
}
