//! Rekognition's `DetectLabels`, an honest stand-in: it derives labels from sums over the pixels and recognises no
//! objects, people or faces.

mod labels;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use thumbnail::{Thumbnail, Unreadable};
use tokio::sync::Semaphore;

use identity::permissions::{Caller, Denial};
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::{Call, Effect, Needs, Operation, Rows};
use kit::parameters::{self, ParameterSpec};
use s3::{S3, TOO_LARGE};

use labels::labels;

/// Limits and defaults of the real API.
const LARGEST_BYTES: usize = 5 << 20;
const LARGEST_OBJECT: usize = 15 << 20;
const DEFAULT_CONFIDENCE: f64 = 55.0;

/// Limits how many pictures are decoded concurrently, and thus the use of memory and CPUs.
static DECODING: Semaphore = Semaphore::const_new(2);

type Run = for<'a> fn(&'a Value, &'a S3, &'a Caller) -> BoxFuture<'a, Response>;

const OPERATIONS: &[Operation<Run>] =
    &[Operation::new("DetectLabels", Effect::Reads, Needs::Own, None, PARAMETERS, |input, s3, caller| {
        Box::pin(detect_labels(input, s3, caller))
    })];

const PARAMETERS: ParameterSpec = "Features[]=GENERAL_LABELS Image.Bytes:blob Image.S3Object.Bucket \
     Image.S3Object.Name Image.S3Object.Version MaxLabels:integer MinConfidence:double";

/// Returns the row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// Answers a call; `None` if there is no such operation.
pub async fn answer(call: &Call, s3: &S3, caller: &Caller) -> Option<Response> {
    let operation = Operation::find(OPERATIONS, &call.operation)?;
    Some(match parameters::document(operation.parameters, call.input.json()) {
        Ok(input) => (operation.run)(input, s3, caller).await,
        Err(refusal) => refusal.answer(Protocol::Json11),
    })
}

async fn detect_labels(input: &Value, s3: &S3, caller: &Caller) -> Response {
    if let Err(denial) = may_read(&input["Image"]["S3Object"], s3, caller) {
        let mut answer = unreadable().answer(Protocol::Json11);
        denial.mark(&mut answer);
        return answer;
    }
    match detect(input, s3).await {
        Ok(found) => json_answer(200, Protocol::Json11, &found),
        Err(refusal) => refusal.answer(Protocol::Json11),
    }
}

/// Checks that the caller may read the object, as it is read with the caller's permissions.
fn may_read(object: &Value, s3: &S3, caller: &Caller) -> Result<(), Denial> {
    let (Some(bucket), Some(key)) = (object["Bucket"].as_str(), object["Name"].as_str()) else {
        return Ok(());
    };
    let version = object["Version"].as_str().map(str::to_owned);
    let keys = s3.needs_to_read(bucket, key, version.as_deref());
    caller.may(&s3::object_need("GetObject", &s3::object_arn(bucket, key), version))?;
    keys.iter().try_for_each(|need| caller.may(need))
}

async fn detect(input: &Value, s3: &S3) -> Result<Value, Refusal> {
    let most = limit(input, "MaxLabels", 0.0, f64::MAX)?.map_or(1000, |most| most as usize);
    let least = limit(input, "MinConfidence", 0.0, 100.0)?.unwrap_or(DEFAULT_CONFIDENCE);
    let bytes = picture(&input["Image"], s3).await?;
    let labels = labels(&decode(bytes).await?);
    let labels: Vec<Value> =
        labels.into_iter().filter(|label| label.confidence >= least).take(most).map(|label| label.json()).collect();
    Ok(json!({ "Labels": labels, "LabelModelVersion": "3.0", "OrientationCorrection": null }))
}

fn limit(input: &Value, name: &str, least: f64, most: f64) -> Result<Option<f64>, Refusal> {
    match &input[name] {
        Value::Null => Ok(None),
        value => match value.as_f64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::new(400, "InvalidParameterException", format!("{name} is out of range"))),
        },
    }
}

async fn picture(image: &Value, s3: &S3) -> Result<Bytes, Refusal> {
    let too_large = |limit: usize| {
        let text = format!("Image size is too large: the limit is {limit} bytes");
        Refusal::new(400, "ImageTooLargeException", text)
    };
    if let Some(text) = image["Bytes"].as_str() {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| no_picture())?;
        return if bytes.len() > LARGEST_BYTES { Err(too_large(LARGEST_BYTES)) } else { Ok(bytes.into()) };
    }
    let object = &image["S3Object"];
    let (Some(bucket), Some(key)) = (object["Bucket"].as_str(), object["Name"].as_str()) else {
        return Err(Refusal::new(400, "InvalidParameterException", "Request has invalid parameters"));
    };
    let read = s3.object(bucket, key, LARGEST_OBJECT as u64).await;
    read.map_err(|refusal| if refusal.code == TOO_LARGE { too_large(LARGEST_OBJECT) } else { unreadable() })
}

/// The same error for objects that do not exist and for those that the caller may not read.
fn unreadable() -> Refusal {
    let text = "Unable to get object metadata from S3. Check object key, region and/or access permissions.";
    Refusal::new(400, "InvalidS3ObjectException", text)
}

async fn decode(bytes: Bytes) -> Result<Thumbnail, Refusal> {
    decode_with(bytes, thumbnail::read).await
}

/// Decodes a picture on a blocking thread. Dropping the future stops the decoding.
async fn decode_with(
    bytes: Bytes,
    read: impl FnOnce(&[u8], &AtomicBool) -> Result<Thumbnail, Unreadable> + Send + 'static,
) -> Result<Thumbnail, Refusal> {
    let failed = |why: String| Refusal::new(500, "InternalServerError", why);
    let place = DECODING.acquire().await.map_err(|fault| failed(fault.to_string()))?;
    let abandoned = Abandoned::default();
    let stop = abandoned.0.clone();
    let decoded = tokio::task::spawn_blocking(move || {
        // Released when decoding has ended, which may be after the caller has left.
        let _place = place;
        read(&bytes, &stop)
    });
    decoded.await.map_err(|fault| failed(fault.to_string()))?.map_err(|why| match why {
        Unreadable::NoPicture => no_picture(),
        Unreadable::TooLarge => {
            Refusal::new(400, "ImageTooLargeException", "The input image size exceeds the allowed limit.")
        }
        Unreadable::Stopped => failed("the caller has left".to_owned()),
    })
}

/// Stops the decoding on drop.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn no_picture() -> Refusal {
    Refusal::new(400, "InvalidImageFormatException", "Request has invalid image format")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::{Duration, Instant};

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    fn png(width: u32, height: u32, paint: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb(paint(x, y)));
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    async fn names(bytes: Vec<u8>) -> Vec<String> {
        labels(&decode(bytes.into()).await.unwrap()).into_iter().map(|label| label.name.to_owned()).collect()
    }

    /// A grey JPEG of any size, made without an encoder: two bits encode that a block equals the previous one.
    fn grey_jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        let mut segment = |marker: u8, content: &[u8]| {
            bytes.extend([0xff, marker]);
            bytes.extend((content.len() as u16 + 2).to_be_bytes());
            bytes.extend(content);
        };
        segment(0xdb, &[&[0][..], &[1; 64]].concat());
        let size = [height.to_be_bytes(), width.to_be_bytes()].concat();
        segment(0xc0, &[&[8][..], &size, &[1, 1, 0x11, 0]].concat());
        // Each table has a single code, of one bit: no difference, and end of block.
        for table in [0x00, 0x10] {
            segment(0xc4, &[&[table, 1][..], &[0; 15], &[0]].concat());
        }
        segment(0xda, &[1, 1, 0, 0, 63, 0]);
        let blocks = usize::from(width.div_ceil(8)) * usize::from(height.div_ceil(8));
        bytes.resize(bytes.len() + blocks.div_ceil(4), 0);
        bytes.extend([0xff, 0xd9]);
        bytes
    }

    #[tokio::test]
    async fn a_wide_blue_picture_is_called_so() {
        let names = names(png(300, 200, |_, _| [20, 60, 220])).await;
        assert!(names.contains(&"Blue".to_owned()) && names.contains(&"Landscape Format".to_owned()), "{names:?}");
        assert!(!names.contains(&"Red".to_owned()));
    }

    #[tokio::test]
    async fn black_and_white_stripes_are_monochrome_and_contrasty() {
        let names = names(png(64, 128, |x, _| if x < 32 { [0; 3] } else { [255; 3] })).await;
        for expected in ["Monochrome", "High Contrast", "Black", "White", "Portrait Format"] {
            assert!(names.contains(&expected.to_owned()), "{expected} in {names:?}");
        }
    }

    #[tokio::test]
    async fn labels_come_surest_first_and_between_0_and_100() {
        let found = labels(&decode(png(10, 10, |x, y| [x as u8 * 25, y as u8 * 25, 100]).into()).await.unwrap());
        assert!(found.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
        assert!(found.iter().all(|label| (0.0..=100.0).contains(&label.confidence)));
    }

    #[tokio::test]
    async fn an_invalid_picture_is_refused_as_by_aws() {
        for bytes in [b"".as_slice(), b"<html>", b"\xff\xd8\xff\xe0 broken"] {
            assert_eq!(decode(bytes.into()).await.unwrap_err().code, "InvalidImageFormatException");
        }
    }

    #[tokio::test]
    async fn a_photograph_of_a_telephone_gets_its_labels() {
        let bytes = grey_jpeg(8064, 6048);
        let begun = Instant::now();
        let names = names(bytes).await;
        println!("48 megapixels: {:?}", begun.elapsed());
        for expected in ["Landscape Format", "Gray", "Monochrome", "Plain"] {
            assert!(names.contains(&expected.to_owned()), "{expected} in {names:?}");
        }
        assert_eq!(
            decode(grey_jpeg(65_000, 65_000)[..200].to_vec().into()).await.unwrap_err().code,
            "ImageTooLargeException"
        );
    }

    #[tokio::test]
    async fn decoding_ends_with_its_caller() {
        let endless = |_: &[u8], stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Unreadable::Stopped)
        };
        // As many as may be decoded concurrently: unless they stop, no further call is served.
        for _ in 0..2 {
            let left = tokio::time::timeout(Duration::from_millis(20), decode_with(Bytes::new(), endless)).await;
            assert!(left.is_err());
        }
        let next = tokio::time::timeout(Duration::from_secs(60), decode(grey_jpeg(8, 8).into())).await;
        assert!(next.expect("the places are free again").is_ok());
    }
}
