//! A picture to draw on: RGB, rectangles, other pictures, and coverage masks (which is what glyphs are).

/// Red, green, blue.
pub type Color = [u8; 3];

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// An RGB picture in rows from the top.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: u32,
    height: u32,
    /// `[height, width, 3]`.
    pixels: Vec<u8>,
}

impl Canvas {
    /// One colour all over.
    pub fn new(width: u32, height: u32, color: Color) -> Self {
        Self { width, height, pixels: color.repeat(width as usize * height as usize) }
    }

    /// The rows from the top, `[height, width, 3]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Fills `area`, as far as it lies on the canvas.
    pub fn fill(&mut self, area: Area, color: Color) {
        for y in area.y..area.y.saturating_add(area.height).min(self.height) {
            for x in area.x..area.x.saturating_add(area.width).min(self.width) {
                self.set(x, y, color);
            }
        }
    }

    /// A line of one pixel around the inside of `area`.
    pub fn frame(&mut self, area: Area, color: Color) {
        let Area { x, y, width, height } = area;
        self.fill(Area { height: 1, ..area }, color);
        self.fill(Area { y: y + height.saturating_sub(1), height: 1, ..area }, color);
        self.fill(Area { width: 1, ..area }, color);
        self.fill(Area { x: x + width.saturating_sub(1), width: 1, ..area }, color);
    }

    /// Puts `pixels`, `[height, width, 3]` with `area`'s size, at `area`.
    pub fn place(&mut self, area: Area, pixels: &[u8]) {
        for (pixel, number) in pixels.chunks_exact(3).zip(0u32..) {
            let (x, y) = (area.x + number % area.width.max(1), area.y + number / area.width.max(1));
            if x < self.width && y < self.height {
                self.set(x, y, [pixel[0], pixel[1], pixel[2]]);
            }
        }
    }

    /// Mixes `color` into a pixel; `coverage` in 0..=1. Pixels beside the canvas are ignored.
    pub fn mix(&mut self, x: i32, y: i32, color: Color, coverage: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        let at = self.offset(x, y);
        for (below, above) in self.pixels[at..at + 3].iter_mut().zip(color) {
            let mixed = f32::from(*below) + (f32::from(above) - f32::from(*below)) * coverage.clamp(0.0, 1.0);
            *below = mixed.round() as u8;
        }
    }

    fn set(&mut self, x: u32, y: u32, color: Color) {
        let at = self.offset(x, y);
        self.pixels[at..at + 3].copy_from_slice(&color);
    }

    fn offset(&self, x: u32, y: u32) -> usize {
        (y as usize * self.width as usize + x as usize) * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_beside_the_canvas_changes_nothing_and_does_not_fail() {
        let mut canvas = Canvas::new(3, 2, [9, 9, 9]);
        canvas.fill(Area { x: 5, y: 5, width: u32::MAX, height: 4 }, [0, 0, 0]);
        canvas.mix(-1, 0, [0, 0, 0], 1.0);
        canvas.mix(0, 2, [0, 0, 0], 1.0);
        canvas.place(Area { x: 3, y: 0, width: 1, height: 1 }, &[1, 2, 3]);
        assert!(canvas.into_pixels().iter().all(|&value| value == 9));
    }

    #[test]
    fn half_coverage_gives_the_colour_between() {
        let mut canvas = Canvas::new(1, 1, [200, 100, 0]);
        canvas.mix(0, 0, [0, 0, 100], 0.5);
        assert_eq!(canvas.into_pixels(), [100, 50, 50]);
    }
}
