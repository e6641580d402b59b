//! The first frame of a GIF through the `gif` crate, put on its screen as Pillow does (`GifImagePlugin.py`): what the
//! frame leaves open is the transparent index or 0, and a palette that is a grey ramp makes the picture grey.

use gif::{ColorOutput, DecodingError, MemoryLimit};

use super::{DecodeOptions, Decoded};
use crate::orientation::Orientation;
use crate::{Error, Format, Mode, Palette, Picture, Result};

pub(super) fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded> {
    let mut settings = gif::DecodeOptions::new();
    settings.set_color_output(ColorOutput::Indexed);
    settings.set_memory_limit(options.limits.max_bytes.try_into().map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
    let mut decoder = settings.read_info(bytes).map_err(error)?;
    let screen = (decoder.width(), decoder.height());
    // The frame and the screen, a byte each.
    options.limits.check(Format::Gif, screen.0.into(), screen.1.into(), 2)?;
    let missing = || Error::Truncated { format: Format::Gif, reason: "no frame before the end".into() };
    let frame = decoder.next_frame_info().map_err(error)?.ok_or_else(missing)?;
    let (left, top, width, height) = (usize::from(frame.left), usize::from(frame.top), usize::from(frame.width), usize::from(frame.height));
    let transparent = frame.transparent;
    // A frame may stick out of the screen, which then grows.
    let (screen_width, screen_height) = ((left + width).max(screen.0.into()), (top + height).max(screen.1.into()));
    options.limits.check(Format::Gif, screen_width as u32, screen_height as u32, 2)?;

    let mut indices = vec![0; width * height];
    decoder.read_into_buffer(&mut indices).map_err(error)?;
    let mut data = indices;
    if (left, top, width, height) != (0, 0, screen_width, screen_height) {
        let frame = std::mem::replace(&mut data, vec![transparent.unwrap_or(0); screen_width * screen_height]);
        if width > 0 {
            let lines = data.chunks_exact_mut(screen_width).skip(top);
            lines.zip(frame.chunks_exact(width)).for_each(|(line, frame)| line[left..left + width].copy_from_slice(frame));
        }
    }
    let colors = decoder.palette().unwrap_or_default();
    let (width, height) = (screen_width as u32, screen_height as u32);
    let is_ramp = colors.chunks_exact(3).enumerate().all(|(i, color)| color.iter().all(|&c| usize::from(c) == i));
    let picture = if is_ramp {
        Picture { color_key: transparent.map(|index| [index; 3]), ..Picture::from_raw(width, height, Mode::Grey, data)? }
    } else {
        let mut palette = Palette::from_rgb(colors);
        palette.alpha = transparent.map(|index| std::array::from_fn(|i| if i == usize::from(index) { 0 } else { 255 }));
        Picture::from_indices(width, height, data, palette)?
    };
    Ok(Decoded { picture, orientation: Orientation::default() })
}

fn error(error: DecodingError) -> Error {
    match error {
        DecodingError::Io(error) => Error::Truncated { format: Format::Gif, reason: error.to_string() },
        other => Error::Damaged { format: Format::Gif, reason: other.to_string() },
    }
}
