//! Kinds of state in S3.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, CreateBucketConfiguration, Event, LambdaFunctionConfiguration,
    NotificationConfiguration,
};

use super::{BUCKET, BoxError, Clients, Kind, found, until};

pub(super) const VERSIONED: &str = "versioned";

pub(super) fn md5(text: &str) -> String {
    use md5::Digest;
    format!("\"{}\"", hex::encode(md5::Md5::digest(text)))
}

fn part_number(name: &str) -> i32 {
    name.bytes().filter(u8::is_ascii_digit).fold(1, |number, digit| number * 10 + i32::from(digit - b'0'))
}

/// The bucket whose notifications represent this name.
pub(super) fn notified_bucket(name: &str) -> String {
    format!("noted-{name}")
}

impl Clients {
    pub(super) async fn write_object(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let s3 = &self.s3;
        let body = || ByteStream::from(value.unwrap_or_default().as_bytes().to_vec());
        match (kind, value) {
            (Kind::ObjectTag, value) => {
                let tag = aws_sdk_s3::types::Tag::builder().key("v").value(value.unwrap_or_default()).build()?;
                let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build()?;
                s3.put_object_tagging().bucket(BUCKET).key(format!("tagged/{name}")).tagging(tags).send().await?;
            }
            (Kind::Versions, _) => drop(s3.put_object().bucket(VERSIONED).key(name).body(body()).send().await?),
            (Kind::Part, _) => {
                let part = s3.upload_part().bucket(BUCKET).key("parts").upload_id(&self.upload);
                part.part_number(part_number(name)).body(body()).send().await?;
            }
            (Kind::CompletedUpload, Some(_)) => {
                let key = format!("completed/{name}");
                let upload = s3.create_multipart_upload().bucket(BUCKET).key(&key).send().await?;
                let id = upload.upload_id().unwrap_or_default();
                let part = s3.upload_part().bucket(BUCKET).key(&key).upload_id(id).part_number(1).body(body());
                let part = CompletedPart::builder().part_number(1).set_e_tag(part.send().await?.e_tag).build();
                let parts = CompletedMultipartUpload::builder().parts(part).build();
                let complete = s3.complete_multipart_upload().bucket(BUCKET).key(&key).upload_id(id);
                complete.multipart_upload(parts).send().await?;
            }
            (Kind::CompletedUpload, None) => {
                s3.delete_object().bucket(BUCKET).key(format!("completed/{name}")).send().await?;
            }
            (_, None) => drop(s3.delete_object().bucket(BUCKET).key(name).send().await?),
            (_, Some(_)) => drop(s3.put_object().bucket(BUCKET).key(name).body(body()).send().await?),
        }
        Ok(())
    }

    pub(super) async fn write_bucket(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), BoxError> {
        let s3 = &self.s3;
        match (kind, value) {
            (Kind::Notification, value) => {
                let function = |id: &str| {
                    let rule = LambdaFunctionConfiguration::builder().id(id).events(Event::S3ObjectCreated);
                    rule.lambda_function_arn("arn:aws:lambda:us-east-1:000000000000:function:kept-0").build()
                };
                let rules = value.map(function).transpose()?.map(|rule| vec![rule]);
                let rules = NotificationConfiguration::builder().set_lambda_function_configurations(rules).build();
                let put = s3.put_bucket_notification_configuration().bucket(notified_bucket(name));
                put.skip_destination_validation(true).notification_configuration(rules).send().await?;
            }
            (_, None) => drop(s3.delete_bucket().bucket(name).send().await?),
            (_, Some(value)) => {
                let tag = aws_sdk_s3::types::Tag::builder().key("v").value(value).build()?;
                let tagged = CreateBucketConfiguration::builder().tags(tag).build();
                let create = s3.create_bucket().bucket(name).create_bucket_configuration(tagged);
                // The name of a deleted bucket is not free immediately.
                until(async || Ok(found(create.clone().send().await, "OperationAborted")?.is_some())).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn read_object(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        let s3 = &self.s3;
        let key = match kind {
            Kind::CompletedUpload => format!("completed/{name}"),
            _ => name.to_owned(),
        };
        Ok(match kind {
            Kind::ObjectTag => {
                let got = s3.get_object_tagging().bucket(BUCKET).key(format!("tagged/{name}")).send().await?;
                got.tag_set().first().map(|tag| tag.value().to_owned())
            }
            Kind::Versions => {
                let listed = s3.list_object_versions().bucket(VERSIONED).prefix(name).send().await?;
                Some(listed.versions().len()).filter(|number| *number > 0).map(|number| number.to_string())
            }
            Kind::Part => {
                let listed = s3.list_parts().bucket(BUCKET).key("parts").upload_id(&self.upload).send().await?;
                let ours = listed.parts().iter().find(|part| part.part_number() == Some(part_number(name)));
                ours.and_then(|part| part.e_tag()).map(str::to_owned)
            }
            _ => match found(s3.get_object().bucket(BUCKET).key(key).send().await, "NoSuchKey")? {
                Some(got) => Some(String::from_utf8(got.body.collect().await?.to_vec())?),
                None => None,
            },
        })
    }

    pub(super) async fn read_bucket(&self, kind: Kind, name: &str) -> Result<Option<String>, BoxError> {
        if kind == Kind::Notification {
            let got = self.s3.get_bucket_notification_configuration().bucket(notified_bucket(name)).send().await?;
            return Ok(got.lambda_function_configurations().first().and_then(|rule| rule.id.clone()));
        }
        let tags = found(self.s3.get_bucket_tagging().bucket(name).send().await, "NoSuchBucket")?;
        Ok(tags.and_then(|tags| tags.tag_set().first().map(|tag| tag.value().to_owned())))
    }
}
