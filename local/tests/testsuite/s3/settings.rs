//! Settings of buckets: tags, CORS and notifications.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{CorsConfiguration, CorsRule, CreateBucketConfiguration, Tag, Tagging};
use testkit::LocalAws;
use testkit::clients::code;

use super::support::{bucket, tagging};

#[tokio::test]
async fn invalid_tags_are_refused_in_every_operation() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    s3.put_object().bucket(name).key("old").send().await.unwrap();
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let many = |count: usize| (0..count).map(|number| tag(&format!("k{number}"), "v")).collect::<Vec<_>>();
    let (long, longer) = ("k".repeat(129), "v".repeat(257));
    for (tags, form, expected) in [
        (vec![tag(&long, "v")], format!("{long}=v"), "InvalidTag"),
        (vec![tag("k", &longer)], format!("k={longer}"), "InvalidTag"),
        (vec![tag("k", "a(b)")], "k=a(b)".to_owned(), "InvalidTag"),
        (vec![tag("aws:k", "v")], "aws%3Ak=v".to_owned(), "InvalidTag"),
        (vec![tag("k", "v"), tag("k", "w")], "k=v&k=w".to_owned(), "InvalidTag"),
        (many(51), (0..11).map(|number| format!("k{number}=v&")).collect(), "BadRequest"),
    ] {
        let set = Tagging::builder().set_tag_set(Some(tags.clone())).build().unwrap();
        assert_eq!(code(s3.put_bucket_tagging().bucket(name).tagging(set.clone()).send().await), expected, "{form}");
        let with_tags = CreateBucketConfiguration::builder().set_tags(Some(tags)).build();
        let made = s3.create_bucket().bucket("other").create_bucket_configuration(with_tags).send().await;
        assert_eq!(code(made), expected, "{form}");
        let tagged = s3.put_object_tagging().bucket(name).key("old").tagging(set).send().await;
        assert_eq!(code(tagged), expected, "{form}");
        let in_header = if form.starts_with("k=v&") { "InvalidArgument" } else { expected };
        let put = s3.put_object().bucket(name).key("new").tagging(&form).send().await;
        assert_eq!(code(put), in_header, "{form}");
        let begun = s3.create_multipart_upload().bucket(name).key("new").tagging(&form).send().await;
        assert_eq!(code(begun), in_header, "{form}");
    }
    assert!(
        s3.head_bucket().bucket("other").send().await.is_err()
            && s3.get_bucket_tagging().bucket(name).send().await.is_err()
    );
    let listed = s3.list_objects_v2().bucket(name).send().await.unwrap();
    assert_eq!(listed.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["old"]);
    let most = Tagging::builder().set_tag_set(Some(many(50))).build().unwrap();
    s3.put_bucket_tagging().bucket(name).tagging(most).send().await.unwrap();
    let eleven = Tagging::builder().set_tag_set(Some(many(11))).build().unwrap();
    let refused = s3.put_object_tagging().bucket(name).key("old").tagging(eleven).send().await.unwrap_err();
    assert_eq!(refused.message(), Some("Object tags cannot be greater than 10"));
    aws.stop().await;
}

#[tokio::test]
async fn a_bucket_setting_is_replaced_as_a_whole() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    for key in ["one", "two"] {
        s3.put_bucket_tagging().bucket(name).tagging(tagging(key)).send().await.unwrap();
        let rule = CorsRule::builder().allowed_methods("GET").allowed_origins(format!("http://{key}")).build().unwrap();
        let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
        s3.put_bucket_cors().bucket(name).cors_configuration(cors).send().await.unwrap();
    }
    let tags = s3.get_bucket_tagging().bucket(name).send().await.unwrap();
    assert_eq!(tags.tag_set().iter().map(Tag::key).collect::<Vec<_>>(), ["two"]);
    let cors = s3.get_bucket_cors().bucket(name).send().await.unwrap();
    assert_eq!(cors.cors_rules().iter().flat_map(CorsRule::allowed_origins).collect::<Vec<_>>(), ["http://two"]);
    aws.stop().await;
}

#[tokio::test]
async fn a_notification_filter_is_returned_as_it_was_written() {
    use aws_sdk_s3::types::{
        Event, FilterRule, FilterRuleName, LambdaFunctionConfiguration, NotificationConfiguration,
    };
    use aws_sdk_s3::types::{NotificationConfigurationFilter, S3KeyFilter};
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let rule = |name: FilterRuleName, value: &str| FilterRule::builder().name(name).value(value).build();
    let empty = S3KeyFilter::builder()
        .filter_rules(rule(FilterRuleName::Prefix, ""))
        .filter_rules(rule(FilterRuleName::Suffix, ""));
    let blank = S3KeyFilter::builder().filter_rules(rule(FilterRuleName::Prefix, " "));
    for filter in [Some(empty.build()), Some(blank.build()), None] {
        let filter = filter.map(|key| NotificationConfigurationFilter::builder().key(key).build());
        let one = LambdaFunctionConfiguration::builder().id("one").events(Event::S3ObjectCreated).set_filter(filter);
        let one = one.lambda_function_arn("arn:aws:lambda:us-east-1:000000000000:function:f").build().unwrap();
        let wanted = NotificationConfiguration::builder().lambda_function_configurations(one.clone()).build();
        let put = s3.put_bucket_notification_configuration().bucket(name).notification_configuration(wanted);
        put.skip_destination_validation(true).send().await.unwrap();
        let found = s3.get_bucket_notification_configuration().bucket(name).send().await.unwrap();
        let found = &found.lambda_function_configurations()[0];
        let rules = |one: &LambdaFunctionConfiguration| {
            let key = one.filter().and_then(|filter| filter.key().cloned())?;
            // S3 returns these names capitalized.
            let rule = |rule: &FilterRule| {
                (rule.name().map(|name| name.as_str().to_lowercase()), rule.value().map(str::to_owned))
            };
            Some(key.filter_rules().iter().map(rule).collect::<Vec<_>>())
        };
        assert_eq!((rules(found), found.events(), found.id()), (rules(&one), one.events(), one.id()));
    }
    aws.stop().await;
}
