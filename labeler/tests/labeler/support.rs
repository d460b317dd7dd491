//! The labeler on a test's own local AWS, with a post and pictures.

use std::collections::HashMap;
use std::io::Cursor;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_rekognition::types::{Image, S3Object};
use labeler::{Labeler, Unfinished};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use testkit::{Control, LocalAws, Proxy, clients};

pub const BUCKET: &str = "pictures";
pub const TABLE: &str = "posts";
/// The type of every object.
pub const TYPE: &str = "image/jpeg";

pub type Row = HashMap<String, AttributeValue>;

/// A picture of one colour, and the labels that Rekognition gives it.
pub struct Subject {
    colour: [u8; 3],
    pub labels: &'static [&'static str],
}

pub const BLUE: Subject = Subject { colour: [20, 60, 220], labels: &["Blue", "Plain", "Dark", "Square Format"] };
pub const RED: Subject = Subject { colour: [220, 20, 20], labels: &["Red", "Plain", "Square Format"] };

impl Subject {
    /// A JPEG without metadata.
    pub fn jpeg(&self) -> Vec<u8> {
        encoded(&image::RgbImage::from_pixel(32, 32, image::Rgb(self.colour)), image::ImageFormat::Jpeg)
    }
}

/// A PNG of vertical stripes, 64 by 32 pixels, with no metadata: colours, and how many pixels wide each is.
pub fn stripes(stripes: &[([u8; 3], usize)]) -> Vec<u8> {
    let columns: Vec<[u8; 3]> = stripes.iter().flat_map(|(colour, width)| vec![*colour; *width]).collect();
    assert_eq!(columns.len(), 64);
    let picture = image::RgbImage::from_fn(64, 32, |x, _| image::Rgb(columns[x as usize]));
    encoded(&picture, image::ImageFormat::Png)
}

fn encoded(picture: &image::RgbImage, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Returns the JPEG with these segments inserted directly after its start.
pub fn with_segments(jpeg: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let (start, rest) = jpeg.split_at(2);
    let mut bytes = start.to_vec();
    for (marker, content) in segments {
        bytes.extend([0xFF, *marker]);
        bytes.extend((content.len() as u16 + 2).to_be_bytes());
        bytes.extend(*content);
    }
    [&bytes, rest].concat()
}

/// The labeler, its AWS, and a proxy between them that counts its calls.
pub struct TestLabeler {
    pub labeler: Labeler,
    pub control: Control,
    pub proxy: Proxy,
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    rekognition: aws_sdk_rekognition::Client,
    _aws: LocalAws,
}

impl TestLabeler {
    /// An empty bucket and an empty table.
    pub async fn start() -> Self {
        let aws = LocalAws::start().await;
        let (s3, dynamodb) = (aws.s3(), aws.dynamodb());
        s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        clients::create_table(&dynamodb, TABLE, "user", "id").await;
        let proxy = Proxy::to(&aws.endpoint()).await;
        // Without retries: the labeler sees every fault.
        let config = clients::without_retries(&clients::config(&proxy.endpoint()).await);
        let labeler = Labeler::new(&config, BUCKET.into(), TABLE.into());
        let rekognition = aws_sdk_rekognition::Client::new(&aws.config);
        Self { labeler, control: aws.control(), proxy, s3, dynamodb, rekognition, _aws: aws }
    }

    pub async fn handle(&self, event: &Value) -> Result<(), Unfinished> {
        self.labeler.handle(event).await
    }

    /// Handles an event, and calls `act` during each of the first `calls` calls of Rekognition: after it has read the
    /// picture, before it answers.
    pub async fn handle_while(&self, event: &Value, calls: usize, act: impl AsyncFn(usize)) -> Result<(), Unfinished> {
        let hold = |nth| json!({ "match": { "operation": "DetectLabels", "nth_call": nth }, "fault": "hold-after" });
        let rules = self.control.inject(&(1..=calls).map(hold).collect()).await;
        let acts = async {
            for (turn, rule) in rules.iter().enumerate() {
                self.control.has_fired(*rule).await;
                act(turn).await;
                assert_eq!(self.control.delete(&format!("faults/{rule}")).await, 200);
            }
        };
        tokio::join!(self.handle(event), acts).0
    }

    /// Injects an error into the next call of an operation.
    pub async fn refuse(&self, operation: &str, status: u16, code: &str) {
        self.control.refuse(operation, status, code).await;
    }

    /// How often the labeler has called an operation.
    pub fn calls(&self, operation: &str) -> usize {
        let is_of = |call: &&String| call.split('#').next() == Some(operation);
        self.proxy.calls().iter().filter(is_of).count()
    }

    /// Adds a post of a user, without a picture.
    pub async fn add_post(&self, user: &str, post: &str) {
        let put = self.dynamodb.put_item().table_name(TABLE).set_item(Some(row_key(user, post)));
        put.item("title", text("Hello")).send().await.unwrap();
    }

    pub async fn delete_post(&self, user: &str, post: &str) {
        let delete = self.dynamodb.delete_item().table_name(TABLE).set_key(Some(row_key(user, post)));
        delete.send().await.unwrap();
    }

    /// Sets attributes of a post as another instance of the function would.
    pub async fn set(&self, user: &str, post: &str, attributes: &[(&str, AttributeValue)]) {
        let mut row = self.row(user, post).await.unwrap();
        row.extend(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.dynamodb.put_item().table_name(TABLE).set_item(Some(row)).send().await.unwrap();
    }

    async fn row(&self, user: &str, post: &str) -> Option<Row> {
        let get = self.dynamodb.get_item().table_name(TABLE).set_key(Some(row_key(user, post))).consistent_read(true);
        get.send().await.unwrap().item
    }

    /// An attribute of a post.
    pub async fn attribute_of(&self, user: &str, post: &str, name: &str) -> Option<AttributeValue> {
        self.row(user, post).await.unwrap().remove(name)
    }

    /// Every row.
    pub async fn rows(&self) -> Vec<Row> {
        self.dynamodb.scan().table_name(TABLE).consistent_read(true).send().await.unwrap().items.unwrap_or_default()
    }

    pub async fn upload(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let put = self.s3.put_object().bucket(BUCKET).key(key).content_type(TYPE);
        put.body(bytes.into().into()).send().await.unwrap();
    }

    pub async fn delete(&self, key: &str) {
        self.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }

    /// The type and the bytes of an object, if it exists.
    pub async fn object(&self, key: &str) -> Option<(String, Vec<u8>)> {
        match self.s3.get_object().bucket(BUCKET).key(key).send().await {
            Ok(object) => {
                let content_type = object.content_type.unwrap_or_default();
                Some((content_type, object.body.collect().await.unwrap().to_vec()))
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => None,
            Err(error) => panic!("{key}: {error:?}"),
        }
    }

    /// The keys of all objects.
    pub async fn keys(&self) -> Vec<String> {
        let list = self.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        list.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// An event as S3 sends it for the object's current content.
    pub async fn event_of(&self, key: &str, time: &str) -> Value {
        let head = self.s3.head_object().bucket(BUCKET).key(key).send().await.unwrap();
        let mut event = event(&[(key, time)]);
        event["Records"][0]["s3"]["object"]["eTag"] = head.e_tag().unwrap().trim_matches('"').into();
        event
    }

    /// The labels of an object at this confidence in percent, as Rekognition returns them to any caller.
    pub async fn all_labels(&self, key: &str, min_confidence: f32) -> Vec<String> {
        let object = S3Object::builder().bucket(BUCKET).name(key).build();
        let detect = self.rekognition.detect_labels().image(Image::builder().s3_object(object).build());
        let found = detect.min_confidence(min_confidence).send().await.unwrap();
        found.labels().iter().map(|label| label.name().unwrap().to_owned()).collect()
    }
}

pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub fn labels(names: &[&str]) -> AttributeValue {
    AttributeValue::L(names.iter().map(|name| text(name)).collect())
}

fn row_key(user: &str, post: &str) -> Row {
    let parts = [("user", format!("USER#{user}")), ("id", format!("POST#{post}"))];
    parts.map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).into()
}

/// The characters that S3 does not encode in the keys of its events; a blank becomes `+`.
const IN_EVENTS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');

/// An event as S3 sends it, with a record for each uploaded key and time.
pub fn event(uploads: &[(&str, &str)]) -> Value {
    let record = |(key, time): &(&str, &str)| {
        let key = utf8_percent_encode(key, IN_EVENTS).to_string().replace(' ', "+");
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": time,
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "labeler",
                "bucket": { "name": BUCKET, "arn": format!("arn:aws:s3:::{BUCKET}") },
                "object": { "key": key, "size": 3, "eTag": "e", "sequencer": "0055AED6DCD90281E5" },
            },
        })
    };
    json!({ "Records": uploads.iter().map(record).collect::<Vec<_>>() })
}
