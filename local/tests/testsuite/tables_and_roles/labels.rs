//! Labels of pictures.

use testkit::LocalAws;
use testkit::clients::code;

#[tokio::test]
async fn labels_come_from_the_picture_itself() {
    use aws_sdk_rekognition::types::{Image, S3Object};
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("images").send().await.unwrap();
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(300, 200, image::Rgb([20, 60, 220]));
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    s3.put_object().bucket("images").key("blue").body(jpeg.into_inner().into()).send().await.unwrap();
    s3.put_object().bucket("images").key("text").body(b"no picture".to_vec().into()).send().await.unwrap();
    let client = aws_sdk_rekognition::Client::new(&aws.config);
    let detect = |key: &str| {
        let object = S3Object::builder().bucket("images").name(key).build();
        client.detect_labels().image(Image::builder().s3_object(object).build())
    };
    let found = detect("blue").max_labels(2).min_confidence(75.0).send().await.unwrap();
    let names: Vec<_> = found.labels().iter().filter_map(|label| label.name()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"Blue"), "{names:?}");
    assert_eq!(code(detect("text").send().await), "InvalidImageFormatException");
    assert_eq!(code(detect("absent").send().await), "InvalidS3ObjectException");
    assert_eq!(code(detect("blue").min_confidence(101.0).send().await), "InvalidParameterException");
    aws.stop().await;
}
