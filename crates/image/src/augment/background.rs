//! Another colour behind a drawing on white: so that a model does not learn that things are on white.
//!
//! The background is what is nearly white and reaches the border of the picture through neighbours (above, below, left, right) that are nearly white
//! too: white inside of a drawing stays. It is multiplied by the colour; so is the seam, one pixel around it, where a smooth
//! edge has white mixed in. Own definition: no reference pipeline does this.

use serde::{Deserialize, Serialize};

use super::Random;
use crate::picture::{Mode, Picture};

/// How often and how a flat white background gets another colour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomBackground {
    /// Of the pictures that get another background, 0 to 1.
    pub probability: f64,
    /// How far from 255 each channel of a white pixel may be.
    pub tolerance: u8,
    /// The darkest that a channel of the colour may be; the lightest is 255.
    pub darkest: u8,
}

impl Default for RandomBackground {
    fn default() -> Self {
        Self { probability: 0.5, tolerance: 8, darkest: 64 }
    }
}

impl RandomBackground {
    /// `picture`, which is RGB, before another colour, if it is its turn and it has a white background.
    pub(super) fn apply(&self, picture: Picture, random: &mut Random) -> Picture {
        let turn = random.chance(self.probability);
        let color: [u8; 3] = std::array::from_fn(|_| self.darkest + random.below(256 - u64::from(self.darkest)) as u8);
        if turn { recolored(picture, self.tolerance, color) } else { picture }
    }
}

/// `picture`, which is RGB, with its white background in another colour.
fn recolored(mut picture: Picture, tolerance: u8, color: [u8; 3]) -> Picture {
    debug_assert_eq!(picture.mode, Mode::Rgb);
    let (width, height) = (picture.width as usize, picture.height as usize);
    let pixels = picture.data.as_chunks_mut::<3>().0;
    let white = |pixel: &[u8; 3]| pixel.iter().all(|&channel| channel >= 255 - tolerance);
    let mut behind = vec![false; pixels.len()];
    let border = (0..width).flat_map(|x| [x, (height - 1) * width + x]).chain((0..height).flat_map(|y| [y * width, y * width + width - 1]));
    let mut open: Vec<usize> = vec![];
    for at in border {
        if !behind[at] && white(&pixels[at]) {
            behind[at] = true;
            open.push(at);
        }
    }
    while let Some(at) = open.pop() {
        let (x, y) = (at % width, at / width);
        let neighbours =
            [(x > 0).then(|| at - 1), (x + 1 < width).then(|| at + 1), (y > 0).then(|| at - width), (y + 1 < height).then(|| at + width)];
        for next in neighbours.into_iter().flatten() {
            if !behind[next] && white(&pixels[next]) {
                behind[next] = true;
                open.push(next);
            }
        }
    }
    let near = |x: usize, y: usize| {
        let (rows, columns) = (y.saturating_sub(1)..=(y + 1).min(height - 1), x.saturating_sub(1)..=(x + 1).min(width - 1));
        rows.flat_map(|y| columns.clone().map(move |x| y * width + x)).any(|at| behind[at])
    };
    for (at, pixel) in pixels.iter_mut().enumerate() {
        if behind[at] || near(at % width, at / width) {
            *pixel = std::array::from_fn(|channel| crate::convert::multiply_255(pixel[channel], color[channel]));
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_within_a_drawing_stays_and_white_around_it_goes() {
        // A black ring of 3 around a white middle, in 7×7 of white.
        let ring = |x: usize, y: usize| (2..5).contains(&x) && (2..5).contains(&y) && (x, y) != (3, 3);
        let data = (0..49).flat_map(|at| [if ring(at % 7, at / 7) { 0 } else { 250 }; 3]).collect();
        let picture = recolored(Picture::from_rgb8(7, 7, data).unwrap(), 8, [100, 200, 255]);
        let pixel = |x: usize, y: usize| picture.data.as_chunks::<3>().0[y * 7 + x];
        assert_eq!(pixel(0, 0), [98, 196, 250]);
        assert_eq!(pixel(6, 3), [98, 196, 250]);
        assert_eq!(pixel(2, 2), [0, 0, 0]);
        assert_eq!(pixel(3, 3), [250, 250, 250]);
    }

    #[test]
    fn a_picture_that_is_not_on_white_stays_as_it_is() {
        let picture = Picture::from_rgb8(5, 4, vec![200; 60]).unwrap();
        assert_eq!(recolored(picture.clone(), 8, [0; 3]), picture);
    }
}
