//! Labels derived from a picture's colours: their names, how light, warm and contrasty it is, and whether its upper and
//! lower parts are coloured like a sky or like grass. No objects are recognised.
//!
//! Confidences follow from shares and distances, and none is above 99: a colour that covers a seventh of the picture
//! has 75, and a guess from a band has 90 at most.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use thumbnail::Thumbnail;

/// A label of a picture, with its confidence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    /// In percent.
    pub(crate) confidence: f64,
    parent: Option<&'static str>,
    category: &'static str,
}

/// Rekognition's categories of these labels.
const COLOURS: &str = "Colors and Visual Composition";
const NATURE: &str = "Nature and Outdoors";

impl Label {
    /// Of the picture as a whole: `strength` is from 0, just noticeable, to 1.
    fn of(name: &'static str, category: &'static str, (least, most): (f64, f64), strength: f64) -> Self {
        let confidence = least + (most - least) * strength.clamp(0.0, 1.0);
        Self { name, confidence, parent: None, category }
    }

    pub(crate) fn json(&self) -> Value {
        let parents: Vec<Value> = self.parent.iter().map(|name| json!({ "Name": name })).collect();
        json!({
            "Name": self.name,
            "Confidence": (self.confidence * 100.0).round() / 100.0,
            "Instances": [],
            "Parents": parents,
            "Aliases": [],
            "Categories": [{ "Name": self.category }],
        })
    }
}

/// Returns the labels of a picture, with the highest confidence first.
pub(crate) fn labels(picture: &Thumbnail) -> Vec<Label> {
    let pixels: Vec<Pixel> = picture.pixels.iter().map(|pixel| Pixel::of(*pixel)).collect();
    let mut found = vec![shape(picture.width, picture.height)];
    found.extend(light(&pixels));
    found.extend(colours(&pixels));
    found.extend(temperature(&pixels));
    found.extend(bands(&pixels, picture.columns as usize));
    found.sort_by(|one, other| other.confidence.total_cmp(&one.confidence).then_with(|| one.name.cmp(other.name)));
    found
}

/// A pixel in the terms of people: all values are from 0 to 1, but for the hue in degrees.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    hue: f64,
    saturation: f64,
    /// The largest of red, green and blue.
    value: f64,
    /// How light it looks (ITU-R BT.601).
    light: f64,
}

impl Pixel {
    fn of(pixel: [u8; 3]) -> Self {
        let [red, green, blue] = pixel.map(|part| f64::from(part) / 255.0);
        let (value, least) = (red.max(green).max(blue), red.min(green).min(blue));
        let range = value - least;
        let hue = if range == 0.0 {
            0.0
        } else if value == red {
            60.0 * ((green - blue) / range).rem_euclid(6.0)
        } else if value == green {
            60.0 * ((blue - red) / range + 2.0)
        } else {
            60.0 * ((red - green) / range + 4.0)
        };
        let saturation = if value > 0.0 { range / value } else { 0.0 };
        Self { hue, saturation, value, light: 0.299 * red + 0.587 * green + 0.114 * blue }
    }

    /// The name of its colour, and that of the basic colour of which it is a shade.
    fn colour(&self) -> (&'static str, Option<&'static str>) {
        let Self { hue, saturation, value, light } = *self;
        if value < 0.13 {
            return ("Black", None);
        }
        if saturation < 0.12 || (saturation < 0.2 && value < 0.3) {
            return (if light > 0.85 { "White" } else { "Gray" }, None);
        }
        let (dark, pale) = (value < 0.5, saturation < 0.45 && value > 0.7);
        match hue {
            hue if !(15.0..342.0).contains(&hue) && pale => ("Pink", None),
            hue if !(15.0..342.0).contains(&hue) && dark => ("Maroon", Some("Red")),
            hue if !(15.0..342.0).contains(&hue) => ("Red", None),
            hue if hue < 48.0 && pale => ("Beige", None),
            hue if hue < 45.0 && value < 0.68 => ("Brown", None),
            hue if hue < 42.0 => ("Orange", None),
            hue if hue < 70.0 && value < 0.6 => ("Olive", Some("Green")),
            hue if hue < 66.0 => ("Yellow", None),
            hue if hue < 165.0 && pale => ("Light Green", Some("Green")),
            hue if hue < 165.0 && dark => ("Dark Green", Some("Green")),
            hue if hue < 165.0 => ("Green", None),
            hue if hue < 195.0 => ("Teal", None),
            hue if hue < 255.0 && pale => ("Light Blue", Some("Blue")),
            hue if hue < 255.0 && dark => ("Navy", Some("Blue")),
            hue if hue < 255.0 => ("Blue", None),
            hue if hue < 300.0 => ("Purple", None),
            _ if dark => ("Purple", None),
            _ => ("Pink", None),
        }
    }

    fn is_coloured(&self) -> bool {
        self.saturation >= 0.2 && self.value >= 0.2
    }

    /// Between red and yellow.
    fn is_warm(&self) -> bool {
        self.is_coloured() && !(70.0..330.0).contains(&self.hue)
    }

    /// Between green and violet.
    fn is_cool(&self) -> bool {
        self.is_coloured() && (165.0..290.0).contains(&self.hue)
    }
}

/// The format is the least interesting label: it is the last of five.
fn shape(width: u32, height: u32) -> Label {
    match f64::from(width) / f64::from(height.max(1)) {
        ratio if ratio > 2.2 => Label::of("Panorama", COLOURS, (82.0, 92.0), ratio - 2.2),
        ratio if ratio > 1.05 => Label::of("Landscape Format", COLOURS, (75.0, 75.9), ratio - 1.05),
        ratio if ratio < 0.95 => Label::of("Portrait Format", COLOURS, (75.0, 75.9), 1.0 - ratio),
        _ => Label::of("Square Format", COLOURS, (75.0, 75.9), 0.5),
    }
}

/// Labels for brightness and contrast.
fn light(pixels: &[Pixel]) -> Vec<Label> {
    let mean = mean(pixels, |pixel| pixel.light);
    let spread = mean_of_squares(pixels, mean).sqrt();
    let mut found = Vec::new();
    if mean > 0.62 {
        found.push(Label::of("Bright", COLOURS, (76.0, 97.0), (mean - 0.62) / 0.3));
    }
    // A dark picture with lights in it is more likely to be of the night than an evenly dark one.
    let lit = share(pixels, |pixel| pixel.light > 0.6);
    if mean < 0.22 && (0.002..0.15).contains(&lit) {
        found.push(Label::of("Night", NATURE, (76.0, 90.0), (0.22 - mean) / 0.15));
    }
    if mean < 0.3 {
        found.push(Label::of("Dark", COLOURS, (76.0, 97.0), (0.3 - mean) / 0.25));
    }
    if spread > 0.25 {
        found.push(Label::of("High Contrast", COLOURS, (76.0, 95.0), (spread - 0.25) / 0.2));
    }
    if spread < 0.02 && pixels.iter().all(|pixel| (pixel.light - mean).abs() < 0.06) {
        found.push(Label::of("Plain", COLOURS, (90.0, 98.0), (0.02 - spread) / 0.02));
    } else if spread < 0.09 {
        found.push(Label::of("Low Contrast", COLOURS, (76.0, 90.0), (0.09 - spread) / 0.07));
    }
    found
}

/// Labels for the colours that cover a significant part of the picture, and for their number.
fn colours(pixels: &[Pixel]) -> Vec<Label> {
    let count = pixels.len().max(1) as f64;
    let mut shares: BTreeMap<&'static str, (f64, Option<&'static str>)> = BTreeMap::new();
    for pixel in pixels {
        let (name, parent) = pixel.colour();
        let entry = shares.entry(name).or_insert((0.0, parent));
        entry.0 += 1.0 / count;
    }
    let grey: f64 = ["Black", "Gray", "White"].iter().filter_map(|name| shares.get(name)).map(|(share, _)| share).sum();
    let bright =
        shares.iter().filter(|(name, (share, _))| *share >= 0.08 && !["Black", "Gray", "White"].contains(*name));
    let number = bright.count();
    let named = shares.into_iter().filter(|(_, (share, _))| *share >= 0.05);
    let mut found: Vec<Label> = named
        .map(|(name, (share, parent))| Label { parent, ..Label::of(name, COLOURS, (71.0, 99.0), share) })
        .collect();
    if grey > 0.95 {
        found.push(Label::of("Monochrome", COLOURS, (85.0, 98.0), (grey - 0.95) / 0.05));
    }
    let saturation = mean(pixels, |pixel| pixel.saturation * pixel.value);
    if number >= 4 && saturation > 0.35 {
        found.push(Label::of("Colorful", COLOURS, (80.0, 95.0), (saturation - 0.35) / 0.4));
    }
    if grey < 0.5 && saturation < 0.22 {
        found.push(Label::of("Muted", COLOURS, (76.0, 86.0), (0.22 - saturation) / 0.15));
    }
    found
}

/// A label for a picture whose colours are mostly warm, or mostly cool. One of a single colour has its name already.
fn temperature(pixels: &[Pixel]) -> Option<Label> {
    let names: BTreeSet<_> = pixels.iter().map(|pixel| pixel.colour().0).collect();
    let (warm, cool) = (share(pixels, Pixel::is_warm), share(pixels, Pixel::is_cool));
    let label = |name, share: f64| Label::of(name, COLOURS, (76.0, 93.0), (share - 0.55) / 0.45);
    match (names.len() > 1, warm > 0.55, cool > 0.55) {
        (true, true, _) => Some(label("Warm Colors", warm)),
        (true, _, true) => Some(label("Cool Colors", cool)),
        _ => None,
    }
}

/// Labels for an upper band that is as smooth, light and coloured as a sky, and for a lower one as green as grass.
///
/// A band must differ from the rest of the picture: a blue wall is not a sky.
fn bands(pixels: &[Pixel], columns: usize) -> Vec<Label> {
    let rows = pixels.len() / columns.max(1);
    if rows < 8 || columns < 8 {
        return Vec::new();
    }
    let (top, middle) = pixels.split_at(rows * 3 / 10 * columns);
    let bottom = &middle[middle.len() - rows * 3 / 10 * columns..];
    let differs = (mean(top, |it| it.light) - mean(bottom, |it| it.light)).abs() > 0.1
        || share(top, Pixel::is_cool).max(share(top, Pixel::is_warm)) - share(bottom, Pixel::is_cool) > 0.4;
    let mut found = Vec::new();
    // The mean difference between neighbours in a row: skies have gradients and soft clouds.
    let steps = top.chunks(columns).flat_map(|row| row.windows(2)).map(|pair| (pair[0].light - pair[1].light).abs());
    let is_smooth = steps.sum::<f64>() / (top.len() as f64) < 0.025;
    let above = mean(top, |it| it.light) > mean(bottom, |it| it.light);
    if differs && is_smooth && above {
        let is_of_day = |it: &Pixel| it.light > 0.35 && ((170.0..260.0).contains(&it.hue) || it.saturation < 0.25);
        // From violet through red to yellow, and neither white nor black.
        let is_of_evening = |it: &Pixel| it.saturation > 0.25 && it.light > 0.15 && !(65.0..260.0).contains(&it.hue);
        let (day, evening) = (share(top, is_of_day), share(top, is_of_evening));
        let blue = share(top, |it| it.saturation >= 0.15 && (170.0..260.0).contains(&it.hue));
        if day > 0.7 && blue > 0.4 {
            found.push(Label::of("Sky", NATURE, (78.0, 90.0), (day - 0.7) / 0.3));
        }
        if evening > 0.6 && share(pixels, Pixel::is_warm) > 0.2 {
            found.push(Label::of("Sunset", NATURE, (76.0, 88.0), (evening - 0.6) / 0.4));
        }
    }
    let green = share(bottom, |it| it.saturation > 0.25 && it.value > 0.15 && (65.0..165.0).contains(&it.hue));
    let greener = green - share(top, |it| it.saturation > 0.25 && (65.0..165.0).contains(&it.hue));
    if green > 0.6 && greener > 0.4 {
        found.push(Label::of("Grass", NATURE, (77.0, 90.0), (green - 0.6) / 0.4));
    }
    found
}

fn mean(pixels: &[Pixel], of: impl Fn(&Pixel) -> f64) -> f64 {
    pixels.iter().map(of).sum::<f64>() / pixels.len().max(1) as f64
}

fn mean_of_squares(pixels: &[Pixel], mean_light: f64) -> f64 {
    mean(pixels, |pixel| (pixel.light - mean_light).powi(2))
}

fn share(pixels: &[Pixel], is: impl Fn(&Pixel) -> bool) -> f64 {
    pixels.iter().filter(|pixel| is(pixel)).count() as f64 / pixels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 64 by 48 pixels.
    fn picture(paint: impl Fn(u32, u32) -> [u8; 3]) -> Thumbnail {
        let pixels = (0..48).flat_map(|y| (0..64).map(move |x| (x, y))).map(|(x, y)| paint(x, y)).collect();
        Thumbnail { width: 640, height: 480, columns: 64, pixels }
    }

    /// The labels that a caller with the labeler's limits gets.
    fn five(picture: &Thumbnail) -> Vec<&'static str> {
        let found = labels(picture);
        found.iter().filter(|label| label.confidence >= 75.0).take(5).map(|label| label.name).collect()
    }

    fn mix(from: [f64; 3], to: [f64; 3], part: f64) -> [u8; 3] {
        [0, 1, 2].map(|it| (from[it] + (to[it] - from[it]) * part) as u8)
    }

    /// A sky over a ground, with a crest between them.
    fn land(high: [f64; 3], low: [f64; 3], ground: [u8; 3]) -> Thumbnail {
        picture(|x, y| if y > 24 + x % 7 { ground } else { mix(high, low, f64::from(y) / 30.0) })
    }

    #[test]
    fn colours_have_names() {
        for (pixel, name) in [
            ([20, 60, 220], "Blue"),
            ([16, 30, 90], "Navy"),
            ([170, 200, 240], "Light Blue"),
            ([220, 20, 20], "Red"),
            ([90, 10, 20], "Maroon"),
            ([120, 70, 30], "Brown"),
            ([250, 140, 30], "Orange"),
            ([245, 225, 40], "Yellow"),
            ([232, 214, 178], "Beige"),
            ([110, 110, 40], "Olive"),
            ([40, 180, 60], "Green"),
            ([20, 80, 30], "Dark Green"),
            ([20, 150, 150], "Teal"),
            ([130, 60, 200], "Purple"),
            ([250, 130, 190], "Pink"),
            ([10, 10, 12], "Black"),
            ([128, 128, 130], "Gray"),
            ([250, 250, 250], "White"),
        ] {
            assert_eq!(Pixel::of(pixel).colour().0, name, "{pixel:?}");
        }
    }

    #[test]
    fn a_picture_is_described_by_what_is_most_striking() {
        let meadow = land([90.0, 160.0, 235.0], [200.0, 225.0, 245.0], [70, 140, 50]);
        let names = five(&meadow);
        assert!(["Sky", "Grass", "Green"].iter().all(|name| names.contains(name)), "{names:?}");
        let dusk = land([150.0, 60.0, 130.0], [250.0, 150.0, 80.0], [50, 25, 55]);
        let names = five(&dusk);
        assert!(names.contains(&"Sunset") && !names.contains(&"Sky"), "{names:?}");
        let city = picture(|x, y| if (x * 7 + y * 13) % 61 == 0 { [255, 220, 150] } else { [8, 9, 20] });
        assert_eq!(five(&city)[..2], ["Black", "Dark"], "{:?}", labels(&city));
        assert!(five(&city).contains(&"Night"));
    }

    #[test]
    fn a_wall_is_no_sky_and_a_carpet_no_grass() {
        let wall = picture(|_, y| mix([120.0, 170.0, 230.0], [110.0, 160.0, 220.0], f64::from(y) / 48.0));
        let carpet = picture(|x, y| if (x + y) % 2 == 0 { [60, 130, 50] } else { [70, 140, 60] });
        let upside_down = picture(|_, y| if y < 24 { [70, 140, 50] } else { [150, 200, 240] });
        for picture in [wall, carpet, upside_down] {
            let names: Vec<_> = labels(&picture).into_iter().map(|label| label.name).collect();
            assert!(!["Sky", "Grass", "Sunset"].iter().any(|name| names.contains(name)), "{names:?}");
        }
    }

    #[test]
    fn a_picture_of_one_colour_is_uniform_and_not_called_warm() {
        let names = five(&picture(|_, _| [220, 20, 20]));
        assert_eq!(names, ["Red", "Plain", "Landscape Format"]);
        assert_eq!(five(&picture(|_, _| [250; 3]))[..3], ["White", "Monochrome", "Plain"]);
    }

    #[test]
    fn warm_and_cool_pictures_are_distinguished() {
        let stripes = |colours: [[u8; 3]; 2]| five(&picture(|x, _| colours[(x / 32) as usize]));
        assert!(stripes([[220, 60, 30], [250, 170, 60]]).contains(&"Warm Colors"));
        assert!(stripes([[40, 80, 200], [30, 150, 160]]).contains(&"Cool Colors"));
        let both = stripes([[220, 60, 30], [40, 80, 200]]);
        assert!(!both.contains(&"Warm Colors") && !both.contains(&"Cool Colors"), "{both:?}");
    }

    #[test]
    fn confidence_grows_with_the_share_and_is_never_certain() {
        let of_red = |columns: u32| {
            let found = labels(&picture(|x, _| if x < columns { [220, 20, 20] } else { [250; 3] }));
            found.iter().find(|label| label.name == "Red").map_or(0.0, |label| label.confidence)
        };
        assert!(of_red(8) < 75.0 && of_red(10) > 75.0 && of_red(32) > of_red(10));
        assert!((of_red(64) - 99.0).abs() < 1e-9);
    }
}
