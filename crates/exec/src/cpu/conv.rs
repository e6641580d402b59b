//! The windows of an image as rows, so that a convolution is a product (Chellapilla et al. 2006).
use hua_graph::Kind;
use hua_kernels::Cores;

use crate::cpu::plan::Window;

/// Every window of every image as a row of `rows` `[items · windows, channels · size²]`, zeros where it leaves the image.
///
/// `images` is `[items, channels, height, width]`, or `[items, height, width, channels]`; so are the columns within a row.
pub(crate) fn windows(cores: &Cores, images: &[f32], window: Window, from: Kind, to: Kind, rows: &mut [f32]) {
    let (Kind::Image { channels, height, width }, Kind::Image { height: to_height, width: to_width, .. }) = (from, to) else {
        unreachable!("the builder gives a convolution an image")
    };
    let Window { size, stride, pad, channels_first } = window;
    cores.each_rows(rows, channels * size * size, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(channels * size * size).enumerate() {
            let (image, at) = ((first + i) / (to_height * to_width), (first + i) % (to_height * to_width));
            let image = &images[image * channels * height * width..][..channels * height * width];
            // The window's corner; how many of its columns are left of the image, and which are the first and the end inside.
            let (y, x) = (at / to_width * stride, at % to_width * stride);
            let inside = pad.saturating_sub(x).min(size)..(width + pad).saturating_sub(x).min(size);
            let (planes, numbers) = if channels_first { (channels, 1) } else { (1, channels) };
            for (line, out) in row.chunks_exact_mut(size * numbers).enumerate() {
                let (plane, y) = (line / size, y + line % size);
                if y < pad || y >= height + pad || inside.is_empty() {
                    out.fill(0.0);
                    continue;
                }
                debug_assert!(plane < planes, "lines of {planes} planes");
                let (start, end) = (inside.start * numbers, inside.end * numbers);
                out[..start].fill(0.0);
                let from = ((plane * height + y - pad) * width + x + inside.start - pad) * numbers;
                out[start..end].copy_from_slice(&image[from..from + end - start]);
                out[end..].fill(0.0);
            }
        }
    });
}

/// Adds the gradients of the windows of one image, `[windows, size² · channels]`, to those of its pixels, `[height, width, channels]`.
pub(crate) fn add_windows(rows: &[f32], window: Window, from: Kind, to: Kind, image: &mut [f32]) {
    let (Kind::Image { channels, height, width }, Kind::Image { width: to_width, .. }) = (from, to) else {
        unreachable!("the builder gives a convolution an image")
    };
    let Window { size, stride, pad, .. } = window;
    for (at, row) in rows.chunks_exact(channels * size * size).enumerate() {
        let (y, x) = (at / to_width * stride, at % to_width * stride);
        for (i, d) in row.chunks_exact(channels).enumerate() {
            let (y, x) = (y + i / size, x + i % size);
            if y >= pad && y < height + pad && x >= pad && x < width + pad {
                let pixel = &mut image[((y - pad) * width + x - pad) * channels..][..channels];
                pixel.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
            }
        }
    }
}

/// `[planes, pixels]` of each image as `[pixels, planes]`, or back with the two exchanged.
pub(crate) fn transposed(images: &[f32], planes: usize, pixels: usize) -> impl ExactSizeIterator<Item = f32> {
    let size = planes * pixels;
    (0..images.len()).map(move |i| images[i / size * size + i % planes * pixels + i % size / planes])
}
