//! Uploads in parts.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, MetadataDirective,
    ObjectAttributes, TaggingDirective,
};
use testkit::LocalAws;
use testkit::clients::code;

use super::support::bucket;

#[tokio::test]
async fn the_parts_of_an_upload_become_one_object() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let upload = s3.create_multipart_upload().bucket(name).key("big é").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = Vec::new();
    for number in 1..=2 {
        let body = ByteStream::from(vec![b'0' + number as u8; 5 << 20]);
        let part = s3.upload_part().bucket(name).key("big é").upload_id(id).part_number(number).body(body);
        let part = part.send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap()).build());
    }
    let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let done = s3.complete_multipart_upload().bucket(name).key("big é").upload_id(id);
    assert_eq!(done.multipart_upload(whole).send().await.unwrap().key(), Some("big é"));
    let got = s3.get_object().bucket(name).key("big é").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().len(), 10 << 20);
    aws.stop().await;
}

#[tokio::test]
async fn parts_are_verified_by_their_checksums_on_completion() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let begin = || s3.create_multipart_upload().bucket(name).key("k");
    let upload = begin().send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = s3.upload_part().bucket(name).key("k").upload_id(id).part_number(1);
    let part = part.body(ByteStream::from_static(b"123456789")).send().await.unwrap();
    let tag = part.e_tag().unwrap().to_owned();
    let complete = |id: &str, part: CompletedPart| {
        let whole = CompletedMultipartUpload::builder().parts(part).build();
        s3.complete_multipart_upload().bucket(name).key("k").upload_id(id).multipart_upload(whole).send()
    };
    let known = || CompletedPart::builder().part_number(1).e_tag(&tag);
    // Of `123456789`, the CRC-32 is 0xcbf43926 and the CRC-32C 0xe3069283.
    let (crc32, crc32c) = ("y/Q5Jg==", "4waSgw==");
    for wrong in [
        known().checksum_crc32(crc32c),
        known().checksum_crc32("y/Q5"),
        known().checksum_crc32(crc32).checksum_crc32_c(crc32),
        known().checksum_sha256(crc32),
        known().checksum_crc32(crc32).e_tag("\"0\""),
    ] {
        assert_eq!(code(complete(id, wrong.build()).await), "InvalidPart");
    }
    assert_eq!(code(s3.head_object().bucket(name).key("k").send().await), "NotFound");
    complete(id, known().checksum_crc32(crc32).checksum_crc32_c(crc32c).build()).await.unwrap();

    let upload = begin().checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await.unwrap();
    assert_eq!(upload.checksum_type(), Some(&ChecksumType::Composite));
    let id = upload.upload_id().unwrap();
    let part = s3.upload_part().bucket(name).key("k").upload_id(id).part_number(1);
    part.checksum_crc32_c(crc32c).body(ByteStream::from_static(b"123456789")).send().await.unwrap();
    let refused = complete(id, known().build()).await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidRequest"));
    assert!(refused.message().unwrap().ends_with("It was missing for part 1 in the request."), "{refused:?}");
    complete(id, known().checksum_crc32_c(crc32c).build()).await.unwrap();
    for (algorithm, kind) in
        [(ChecksumAlgorithm::Sha256, ChecksumType::FullObject), (ChecksumAlgorithm::Crc64Nvme, ChecksumType::Composite)]
    {
        let refused = begin().checksum_algorithm(algorithm).checksum_type(kind).send().await;
        assert_eq!(code(refused), "InvalidRequest");
    }
    aws.stop().await;
}

#[tokio::test]
async fn an_upload_in_parts_goes_on_after_a_restart_and_is_checked_as_on_aws() {
    let aws = LocalAws::start().await;
    let name = bucket(&aws.s3()).await;
    let begun = aws.s3().create_multipart_upload().bucket(name).key("é").content_type("image/png").tagging("a=b");
    let begun = begun.send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let sizes = [(1, 5 << 20), (3, 10), (7, 20)];
    let mut parts = Vec::new();
    for (number, size) in sizes {
        let part = aws.s3().upload_part().bucket(name).key("é").upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(vec![b'x'; size])).send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap()).build());
    }
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let listed = s3.list_parts().bucket(name).key("é").upload_id(id).max_parts(2).send().await.unwrap();
    assert_eq!((listed.parts().len(), listed.is_truncated()), (2, Some(true)));
    let complete = |parts: Vec<CompletedPart>| {
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        s3.complete_multipart_upload().bucket(name).key("é").upload_id(id).multipart_upload(whole).send()
    };
    assert_eq!(code(complete(parts.clone()).await), "EntityTooSmall");
    assert_eq!(code(complete(parts.iter().rev().cloned().collect()).await), "InvalidPartOrder");
    let unknown = CompletedPart::builder().part_number(2).e_tag("\"0\"").build();
    assert_eq!(code(complete(vec![unknown]).await), "InvalidPart");
    complete(vec![parts[0].clone(), parts[2].clone()]).await.unwrap();
    assert_eq!(code(complete(vec![parts[0].clone()]).await), "NoSuchUpload");

    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let head = s3.head_object().bucket(name).key("é").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_type()), (Some((5 << 20) + 20), Some("image/png")));
    assert!(head.e_tag().unwrap().ends_with("-2\""), "{:?}", head.e_tag());
    let tags = s3.get_object_tagging().bucket(name).key("é").send().await.unwrap();
    assert_eq!(tags.tag_set()[0].value(), "b");
    assert!(s3.list_multipart_uploads().bucket(name).send().await.unwrap().uploads().is_empty());
    aws.stop().await;
}

#[tokio::test]
async fn uploads_in_parts_and_copies_keep_what_objects_have() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let begun = s3.create_multipart_upload().bucket(name).key("parts").cache_control("no-cache").content_type("a/b");
    let begun = begun.content_disposition("inline").metadata("author", "ada").tagging("a=b");
    let begun = begun.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(2, 5 << 20), (5, 10)] {
        let body = ByteStream::from(vec![b'0' + number as u8; size]);
        let part = s3.upload_part().bucket(name).key("parts").upload_id(id).part_number(number).body(body);
        let part = part.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
        let done = CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap());
        parts.push(done.set_checksum_crc32(part.checksum_crc32).build());
    }
    let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let done = s3.complete_multipart_upload().bucket(name).key("parts").upload_id(id).multipart_upload(whole);
    let done = done.send().await.unwrap();
    let sum = done.checksum_crc32().unwrap().to_owned();
    assert!(sum.ends_with("-2"), "{sum}");
    let head = s3.head_object().bucket(name).key("parts").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!((head.cache_control(), head.content_disposition()), (Some("no-cache"), Some("inline")));
    assert_eq!((head.content_type(), head.metadata().unwrap()["author"].as_str()), (Some("a/b"), "ada"));
    assert_eq!((head.checksum_crc32(), head.checksum_type()), (Some(sum.as_str()), Some(&ChecksumType::Composite)));
    let part = s3.get_object().bucket(name).key("parts").part_number(5).send().await.unwrap();
    assert_eq!((part.content_range(), part.parts_count()), (Some("bytes 5242880-5242889/5242890"), Some(2)));
    assert_eq!(part.body.collect().await.unwrap().into_bytes(), "5555555555");
    let absent = s3.get_object().bucket(name).key("parts").part_number(3).send().await;
    assert_eq!(code(absent), "InvalidPartNumber");
    let attributes =
        s3.get_object_attributes().bucket(name).key("parts").object_attributes(ObjectAttributes::ObjectParts);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectSize).send().await.unwrap();
    let listed = attributes.object_parts().unwrap();
    assert_eq!((attributes.object_size(), listed.total_parts_count()), (Some(5_242_890), Some(2)));
    assert_eq!((listed.max_parts(), listed.is_truncated(), listed.parts().len()), (Some(1000), Some(false), 2));
    assert!(listed.parts().iter().all(|part| part.checksum_crc32().is_some()));

    // The checksum of the whole object is not computed from those of the parts, which are then only counted.
    let begun = s3.create_multipart_upload().bucket(name).key("counted").send().await.unwrap();
    let part = s3.upload_part().bucket(name).key("counted").upload_id(begun.upload_id().unwrap()).part_number(1);
    let part = part.body(ByteStream::from_static(b"1")).send().await.unwrap();
    let done = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let whole = CompletedMultipartUpload::builder().parts(done).build();
    let complete = s3.complete_multipart_upload().bucket(name).key("counted").upload_id(begun.upload_id().unwrap());
    complete.multipart_upload(whole).send().await.unwrap();
    let attributes = s3.get_object_attributes().bucket(name).key("counted").max_parts(5);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectParts).send().await.unwrap();
    let counted = attributes.object_parts().unwrap();
    assert_eq!((counted.total_parts_count(), counted.max_parts(), counted.is_truncated()), (Some(1), None, None));
    assert!(counted.parts().is_empty());

    let copy = |key: &str| s3.copy_object().bucket(name).key(key).copy_source(format!("{name}/parts"));
    copy("copy").send().await.unwrap();
    let replaced = copy("replaced").metadata_directive(MetadataDirective::Replace).content_type("c/d");
    replaced.tagging_directive(TaggingDirective::Replace).tagging("c=d").send().await.unwrap();
    for (key, kind, cache, tag) in [("copy", "a/b", Some("no-cache"), "a"), ("replaced", "c/d", None, "c")] {
        let head = s3.head_object().bucket(name).key(key).send().await.unwrap();
        assert_eq!((head.content_type(), head.cache_control()), (Some(kind), cache), "{key}");
        let tags = s3.get_object_tagging().bucket(name).key(key).send().await.unwrap();
        assert_eq!(tags.tag_set()[0].key(), tag, "{key}");
    }
    assert_eq!(code(copy("parts").send().await), "InvalidRequest");
    let gone = s3.copy_object().bucket(name).key("x").copy_source(format!("{name}/none")).send().await;
    assert_eq!(code(gone), "NoSuchKey");
    aws.stop().await;
}
