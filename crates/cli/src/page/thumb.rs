//! Thumbnails inside the page, as data URIs: JPEG for photographs, PNG where that is smaller (drawings, screenshots, icons).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hua::image::Picture;
use hua::shown::{escaped, language};
use jpeg_encoder::{ColorType, Encoder};

use crate::sheet::{thumbnail, visible};

/// Of 100: artefacts cannot be seen at the size of a card.
const QUALITY: u8 = 80;

/// An `<img>` of `picture`, with `text` as what it shows.
pub fn image(picture: &Picture, text: &str) -> String {
    let small = thumbnail(picture);
    let (width, height) = (small.width(), small.height());
    let png = small.encode_png();
    let (kind, bytes) = match jpeg(&small) {
        Some(jpeg) if jpeg.len() < png.len() => ("jpeg", jpeg),
        _ => ("png", png),
    };
    let data = STANDARD.encode(bytes);
    let (language, text) = (language(text), escaped(&visible(text)));
    format!(
        "<img src=\"data:image/{kind};base64,{data}\" width=\"{width}\" height=\"{height}\" alt=\"{text}\" lang=\"{language}\" decoding=\"async\">"
    )
}

/// None for what JPEG cannot hold, which no thumbnail is.
fn jpeg(picture: &Picture) -> Option<Vec<u8>> {
    let (width, height) = (u16::try_from(picture.width()).ok()?, u16::try_from(picture.height()).ok()?);
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, QUALITY).encode(picture.data(), width, height, ColorType::Rgb).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use hua::image::DecodeOptions;

    use super::*;

    fn decoded(image: &str, kind: &str) -> Picture {
        let start = format!("<img src=\"data:image/{kind};base64,");
        let data = image.strip_prefix(&start).unwrap_or_else(|| panic!("{image:.60}")).split('"').next().unwrap();
        Picture::decode(&STANDARD.decode(data).unwrap(), &DecodeOptions::default()).unwrap()
    }

    #[test]
    fn a_photograph_becomes_a_small_jpeg_that_still_shows_it() {
        // Smooth colours with some noise.
        let pixel = |n: u32| [(n % 800 / 4) as u8, (n / 800 / 3) as u8, 90 + (n.wrapping_mul(2_654_435_761) >> 28) as u8];
        let photo = Picture::from_rgb8(800, 600, (0..800 * 600).flat_map(pixel).collect()).unwrap();
        let image = image(&photo, "日落");
        assert!(image.contains("width=\"384\" height=\"288\" alt=\"日落\" lang=\"zh\""));
        assert!(image.len() < 40_000, "{}", image.len());
        let (shown, wanted) = (decoded(&image, "jpeg"), thumbnail(&photo));
        let far = shown.data().iter().zip(wanted.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
        assert!(far < 4 * shown.data().len() as u64, "{far}");
    }

    #[test]
    fn a_drawing_becomes_a_png_with_its_very_pixels() {
        let drawing =
            Picture::from_rgb8(64, 64, [[250, 250, 250]; 2048].into_iter().chain([[20, 90, 200]; 2048]).flatten().collect()).unwrap();
        assert_eq!(decoded(&image(&drawing, ""), "png").data(), drawing.data());
    }
}
