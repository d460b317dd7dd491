//! Rekognition's `DetectLabels`, an honest stand-in: it says what a few sums over the pixels say and knows no objects.

use std::collections::BTreeMap;
use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, RgbImage};
use serde_json::{Value, json};

use crate::answer::{Protocol, Refusal, Response, json_answer, not_implemented};
use crate::call::{Call, Request};
use crate::permissions::{Caller, Denial, object_need};
use crate::s3::{self, S3};

/// The limits of the real API.
const LARGEST_BYTES: usize = 5 << 20;
const LARGEST_OBJECT: usize = 15 << 20;
/// A picture of this side tells as much about its colours as a large one, and sooner.
const SIDE: u32 = 64;
const DEFAULT_CONFIDENCE: f64 = 55.0;

/// Answers `DetectLabels`; nothing else is there.
pub(crate) async fn answer(call: &Call, request: &Request, s3: &S3, caller: &Caller) -> Response {
    if call.operation != "DetectLabels" {
        return not_implemented(Protocol::Json11, "rekognition", &call.operation);
    }
    let Ok(input) = serde_json::from_slice::<Value>(&request.body) else {
        return Refusal::new(400, "SerializationException", "the request is no JSON").answer(Protocol::Json11);
    };
    if let Err(denial) = may_read(&input["Image"]["S3Object"], caller) {
        let mut answer = unreadable().answer(Protocol::Json11);
        denial.mark(&mut answer);
        return answer;
    }
    match detect(&input, s3).await {
        Ok(found) => json_answer(200, Protocol::Json11, &found),
        Err(refusal) => refusal.answer(Protocol::Json11),
    }
}

/// Objects are read with the permissions of whoever asks about them.
fn may_read(object: &Value, caller: &Caller) -> Result<(), Denial> {
    let (Some(bucket), Some(key)) = (object["Bucket"].as_str(), object["Name"].as_str()) else {
        return Ok(());
    };
    let version = object["Version"].as_str().map(str::to_owned);
    caller.may(&object_need("GetObject", &s3::object_arn(bucket, key), version))
}

async fn detect(input: &Value, s3: &S3) -> Result<Value, Refusal> {
    let most = limit(input, "MaxLabels", 0.0, f64::MAX)?.map_or(1000, |most| most as usize);
    let least = limit(input, "MinConfidence", 0.0, 100.0)?.unwrap_or(DEFAULT_CONFIDENCE);
    let bytes = picture(&input["Image"], s3).await?;
    let labels = tokio::task::spawn_blocking(move || labels(&bytes))
        .await
        .map_err(|fault| Refusal::new(500, "InternalServerError", fault.to_string()))??;
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
    let bytes = s3.object(bucket, key).await.map_err(|_| unreadable())?;
    if bytes.len() > LARGEST_OBJECT { Err(too_large(LARGEST_OBJECT)) } else { Ok(bytes) }
}

/// The one answer for what is not there and what may not be read.
fn unreadable() -> Refusal {
    let text = "Unable to get object metadata from S3. Check object key, region and/or access permissions.";
    Refusal::new(400, "InvalidS3ObjectException", text)
}

/// Something said about a picture, and how sure the sums are.
#[derive(Debug, Clone, PartialEq)]
struct Label {
    name: String,
    confidence: f64,
    parent: &'static str,
}

impl Label {
    fn json(&self) -> Value {
        json!({
            "Name": self.name,
            "Confidence": (self.confidence * 100.0).round() / 100.0,
            "Instances": [],
            "Parents": [{ "Name": self.parent }],
            "Aliases": [],
            "Categories": [{ "Name": "Colors and Visual Composition" }],
        })
    }
}

/// The labels of a picture, surest first.
fn labels(bytes: &[u8]) -> Result<Vec<Label>, Refusal> {
    let picture = decode(bytes)?;
    let (width, height) = (picture.width(), picture.height());
    let small = picture.thumbnail_exact(width.clamp(1, SIDE), height.clamp(1, SIDE)).to_rgb8();
    let mut found = vec![shape(width, height)];
    found.extend(light(&small));
    found.extend(colours(&small));
    found.sort_by(|one, other| other.confidence.total_cmp(&one.confidence).then_with(|| one.name.cmp(&other.name)));
    Ok(found)
}

/// Real Rekognition takes JPEG and PNG only.
fn decode(bytes: &[u8]) -> Result<DynamicImage, Refusal> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| no_picture())?;
    match reader.format() {
        Some(ImageFormat::Jpeg | ImageFormat::Png) => reader.decode().map_err(|_| no_picture()),
        _ => Err(no_picture()),
    }
}

fn no_picture() -> Refusal {
    Refusal::new(400, "InvalidImageFormatException", "Request has invalid image format")
}

fn shape(width: u32, height: u32) -> Label {
    let ratio = f64::from(width) / f64::from(height.max(1));
    let (name, distance) = match ratio {
        ratio if ratio > 2.2 => ("Panorama", ratio - 2.2),
        ratio if ratio > 1.05 => ("Landscape Format", ratio - 1.05),
        ratio if ratio < 0.95 => ("Portrait Format", 1.0 / ratio.max(0.01) - 1.05),
        _ => ("Square Format", 0.5),
    };
    label(name, 90.0 + 9.0 * distance.clamp(0.0, 1.0), "Composition")
}

/// What the brightness of the pixels says.
fn light(picture: &RgbImage) -> Vec<Label> {
    let lights: Vec<f64> = picture
        .pixels()
        .map(|pixel| {
            let [red, green, blue] = pixel.0.map(f64::from);
            (0.299 * red + 0.587 * green + 0.114 * blue) / 255.0
        })
        .collect();
    let count = lights.len().max(1) as f64;
    let mean = lights.iter().sum::<f64>() / count;
    let spread = (lights.iter().map(|light| (light - mean).powi(2)).sum::<f64>() / count).sqrt();
    let mut found = Vec::new();
    if mean > 0.6 {
        found.push(label("Bright", 70.0 + 29.0 * (mean - 0.6) / 0.4, "Light"));
    }
    if mean < 0.35 {
        found.push(label("Dark", 70.0 + 29.0 * (0.35 - mean) / 0.35, "Light"));
    }
    if spread > 0.25 {
        found.push(label("High Contrast", 70.0 + 29.0 * (spread - 0.25) / 0.25, "Light"));
    }
    if spread < 0.06 {
        found.push(label("Uniform", 70.0 + 29.0 * (0.06 - spread) / 0.06, "Light"));
    }
    found
}

/// The colours that cover a part of the picture worth naming.
fn colours(picture: &RgbImage) -> Vec<Label> {
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    let count = f64::from(picture.width() * picture.height()).max(1.0);
    for pixel in picture.pixels() {
        *shares.entry(colour(pixel.0)).or_default() += 1.0 / count;
    }
    let grey: f64 = ["Black", "Gray", "White"].iter().filter_map(|name| shares.get(name)).sum();
    let mut found: Vec<Label> = shares
        .iter()
        .filter(|(_, share)| **share >= 0.1)
        .map(|(name, share)| label(name, 60.0 + 39.0 * share, "Color"))
        .collect();
    if grey > 0.95 {
        found.push(label("Monochrome", 70.0 + 29.0 * (grey - 0.95) / 0.05, "Color"));
    }
    if shares.iter().filter(|(name, share)| **share >= 0.08 && !["Black", "Gray", "White"].contains(name)).count() >= 4
    {
        found.push(label("Colorful", 85.0, "Color"));
    }
    found
}

fn colour(pixel: [u8; 3]) -> &'static str {
    let [red, green, blue] = pixel.map(|part| f64::from(part) / 255.0);
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let (value, range) = (most, most - least);
    let saturation = if most > 0.0 { range / most } else { 0.0 };
    if value < 0.15 {
        return "Black";
    }
    if saturation < 0.15 {
        return if value > 0.85 { "White" } else { "Gray" };
    }
    let hue = 60.0
        * if most == red {
            ((green - blue) / range).rem_euclid(6.0)
        } else if most == green {
            (blue - red) / range + 2.0
        } else {
            (red - green) / range + 4.0
        };
    match hue {
        hue if !(15.0..345.0).contains(&hue) => "Red",
        hue if hue < 45.0 && value < 0.6 => "Brown",
        hue if hue < 45.0 => "Orange",
        hue if hue < 70.0 => "Yellow",
        hue if hue < 165.0 => "Green",
        hue if hue < 195.0 => "Cyan",
        hue if hue < 260.0 => "Blue",
        hue if hue < 290.0 => "Purple",
        _ => "Pink",
    }
}

fn label(name: &str, confidence: f64, parent: &'static str) -> Label {
    Label { name: name.to_owned(), confidence: confidence.clamp(0.0, 99.9), parent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn png(width: u32, height: u32, paint: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb(paint(x, y)));
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        bytes
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        labels(bytes).unwrap().into_iter().map(|label| label.name).collect()
    }

    #[test]
    fn a_wide_blue_picture_is_called_so() {
        let names = names(&png(300, 200, |_, _| [20, 60, 220]));
        assert!(names.contains(&"Blue".to_owned()) && names.contains(&"Landscape Format".to_owned()), "{names:?}");
        assert!(!names.contains(&"Red".to_owned()));
    }

    #[test]
    fn black_and_white_stripes_are_monochrome_and_contrasty() {
        let names = names(&png(64, 128, |x, _| if x < 32 { [0; 3] } else { [255; 3] }));
        for expected in ["Monochrome", "High Contrast", "Black", "White", "Portrait Format"] {
            assert!(names.contains(&expected.to_owned()), "{expected} in {names:?}");
        }
    }

    #[test]
    fn labels_come_surest_first_and_between_0_and_100() {
        let found = labels(&png(10, 10, |x, y| [x as u8 * 25, y as u8 * 25, 100])).unwrap();
        assert!(found.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
        assert!(found.iter().all(|label| (0.0..=100.0).contains(&label.confidence)));
    }

    #[test]
    fn what_is_no_picture_is_refused_as_aws_does() {
        for bytes in [b"".as_slice(), b"<html>", b"\xff\xd8\xff\xe0 broken"] {
            assert_eq!(labels(bytes).unwrap_err().code, "InvalidImageFormatException");
        }
    }
}
