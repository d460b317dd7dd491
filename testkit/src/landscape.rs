//! Pictures for posts, drawn instead of stored in the repository.

use std::path::Path;

/// The colours of a sky from its top to the horizon, and of hills from the farthest to the nearest.
pub struct Colours(pub [[f32; 3]; 2], pub [[f32; 3]; 3]);

/// A lake in front of blue hills.
pub const LAKE: Colours =
    Colours([[52., 120., 214.], [196., 226., 246.]], [[98., 148., 196.], [58., 108., 170.], [24., 62., 122.]]);
/// A meadow at noon.
pub const MEADOW: Colours =
    Colours([[120., 190., 230.], [232., 244., 214.]], [[140., 190., 110.], [84., 148., 76.], [36., 96., 54.]]);
/// The last light of the day.
pub const DUSK: Colours =
    Colours([[92., 44., 130.], [255., 168., 92.]], [[196., 84., 96.], [128., 48., 96.], [58., 24., 70.]]);

/// Writes a JPEG of hills and a sky with a sun, 640 by 400 pixels.
pub fn landscape(file: &Path, colours: &Colours) {
    landscape_of(file, colours, 640, 400);
}

/// The same in another size.
pub fn landscape_of(file: &Path, Colours(sky, hills): &Colours, width: u32, height: u32) {
    let mix = |a: [f32; 3], b: [f32; 3], t: f32| [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t);
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 * 640.0 / width as f32, y as f32 * 400.0 / height as f32);
        let mut colour = mix(sky[0], sky[1], (y / 300.0).min(1.0));
        // Round, whatever the shape of the picture.
        let flat = height as f32 * 640.0 / (width as f32 * 400.0);
        let sun = ((x - 480.0).powi(2) + ((y - 130.0) * flat).powi(2)).sqrt();
        let light = (46.0 - sun).clamp(0.0, 1.0).max((1.0 - sun / 220.0).max(0.0) * 0.5);
        colour = mix(colour, [255.0, 244.0, 214.0], light);
        for (i, hill) in hills.iter().enumerate() {
            let i = i as f32;
            let wave = (x / (95.0 + 30.0 * i) + 2.1 * i).sin() * 26.0 + (x / 41.0 + i).sin() * 7.0;
            let crest = 235.0 + 52.0 * i + wave;
            let hill = mix(*hill, hill.map(|part| part * 0.7), ((y - crest) / 160.0).clamp(0.0, 1.0));
            colour = mix(colour, hill, (y - crest).clamp(0.0, 1.0));
        }
        image::Rgb(colour.map(|part| part as u8))
    });
    picture.save_with_format(file, image::ImageFormat::Jpeg).expect("a picture can be written");
}
