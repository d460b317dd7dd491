//! The mean colour of each cell of a grid over a picture.

use super::{SIDE, Thumbnail};

/// Sums up pixels as they are decoded, in any order.
pub(crate) struct Sums {
    /// The size of the decoded picture.
    width: u32,
    height: u32,
    columns: u32,
    rows: u32,
    /// The sums of red, green and blue, and the number of pixels.
    cells: Vec<[u64; 4]>,
}

impl Sums {
    pub(crate) fn over(width: u32, height: u32) -> Sums {
        let (columns, rows) = (width.clamp(1, SIDE), height.clamp(1, SIDE));
        Sums { width, height, columns, rows, cells: vec![[0; 4]; (columns * rows) as usize] }
    }

    /// Adds the pixels of a line; `xs` are their columns in the picture.
    pub(crate) fn add(&mut self, y: u32, xs: impl Iterator<Item = u32>, pixels: impl Iterator<Item = [u8; 3]>) {
        let at = |place: u32, size: u32, cells: u32| u64::from(place) * u64::from(cells) / u64::from(size.max(1));
        let row = at(y, self.height, self.rows);
        for (x, [red, green, blue]) in xs.zip(pixels) {
            let cell = row * u64::from(self.columns) + at(x, self.width, self.columns);
            if let Some(sums) = self.cells.get_mut(cell as usize) {
                let add = [red, green, blue, 1].map(u64::from);
                sums.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
            }
        }
    }

    /// Returns the thumbnail of a picture whose original size is `width` by `height`.
    pub(crate) fn thumbnail(self, width: u32, height: u32) -> Thumbnail {
        let mean = |[red, green, blue, count]: [u64; 4]| [red, green, blue].map(|sum| (sum / count.max(1)) as u8);
        Thumbnail { width, height, columns: self.columns, pixels: self.cells.into_iter().map(mean).collect() }
    }
}
