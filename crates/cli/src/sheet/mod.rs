//! The contact sheet: one picture to look at, with a band for each query: what was asked, then the hits in order with rank, score
//! and name. All lengths are pixels.

mod canvas;
mod text;

use hua::image::{Filter, Picture};

use self::canvas::{Area, Canvas, Color};
use self::text::Fonts;
use crate::complaint::Complaint;

/// What was asked.
pub enum Asked {
    Picture { picture: Picture, name: String },
    Words(String),
}

impl Asked {
    /// The words, or the picture's path.
    pub fn name(&self) -> &str {
        match self {
            Self::Picture { name, .. } => name,
            Self::Words(words) => words,
        }
    }
}

/// A query and its hits, best first.
pub struct Band {
    pub asked: Asked,
    pub hits: Vec<Hit>,
}

/// A picture that was found.
pub struct Hit {
    /// None if it cannot be read any more.
    pub picture: Option<Picture>,
    pub score: f32,
    pub name: String,
}

/// Most pixels of a sheet: 64 million are 192 MB while it is drawn.
const LARGEST: u64 = 64 << 20;

const PAPER: Color = [246, 247, 249];
const CARD: Color = [255, 255, 255];
const EDGE: Color = [222, 225, 230];
const INK: Color = [28, 32, 38];
const FADED: Color = [118, 125, 136];
const ACCENT: Color = [32, 98, 196];

/// Space around the sheet.
const MARGIN: u32 = 32;
/// Space between cards.
const GAP: u32 = 16;
/// Most cards beside each other.
const COLUMNS: u32 = 5;
/// A card is a square picture with a caption of two lines below.
const CARD_WIDTH: u32 = 184;
const INSET: u32 = 8;
const PICTURE: u32 = CARD_WIDTH - 2 * INSET;
const CAPTION: u32 = 50;
const CARD_HEIGHT: u32 = PICTURE + INSET + CAPTION;
/// The band's header: one large line.
const HEADER: u32 = 56;
/// Space between a band and the next.
const BAND_GAP: u32 = 40;
/// The line at the top that names the model.
const TITLE: u32 = 28;

/// Draws the sheet; `about` is the line at its top (the model and where was searched).
pub fn draw(about: &str, bands: &[Band]) -> anyhow::Result<Picture> {
    let fonts = Fonts::load();
    let columns = bands.iter().map(|band| band.hits.len() as u32).max().unwrap_or(0).clamp(3, COLUMNS);
    let width = 2 * MARGIN + columns * CARD_WIDTH + (columns - 1) * GAP;
    let bands_height: u64 = bands.iter().map(|band| u64::from(band_height(band, columns))).sum();
    let height = u64::from(2 * MARGIN + TITLE) + bands_height + u64::from(BAND_GAP) * bands.len().saturating_sub(1) as u64;
    if height * u64::from(width) > LARGEST {
        let most = LARGEST / u64::from(width);
        return Err(Complaint::caller(format!(
            "a contact sheet of {} queries would be {height} pixels high, at most {most} are drawn",
            bands.len()
        ))
        .hint("ask fewer queries at a time, or for fewer hits with `--top`")
        .into());
    }
    let mut canvas = Canvas::new(width, height as u32, PAPER);
    let inner = (width - 2 * MARGIN) as f32;
    fonts.line_within(about, 14.0, inner).draw(&mut canvas, MARGIN, MARGIN + 12, FADED);
    let mut y = MARGIN + TITLE;
    for (number, band) in bands.iter().enumerate() {
        if number > 0 {
            canvas.fill(Area { x: MARGIN, y: y + BAND_GAP / 2, width: width - 2 * MARGIN, height: 1 }, EDGE);
            y += BAND_GAP;
        }
        draw_header(&mut canvas, &fonts, &band.asked, y, inner);
        for (rank, hit) in band.hits.iter().enumerate() {
            let (column, row) = (rank as u32 % columns, rank as u32 / columns);
            let corner = (MARGIN + column * (CARD_WIDTH + GAP), y + HEADER + row * (CARD_HEIGHT + GAP));
            draw_card(&mut canvas, &fonts, corner, rank + 1, hit);
        }
        y += band_height(band, columns);
    }
    Ok(Picture::from_rgb8(width, height as u32, canvas.into_pixels())?)
}

fn band_height(band: &Band, columns: u32) -> u32 {
    let rows = (band.hits.len() as u32).div_ceil(columns);
    HEADER + (rows * (CARD_HEIGHT + GAP)).saturating_sub(GAP)
}

fn draw_header(canvas: &mut Canvas, fonts: &Fonts, asked: &Asked, y: u32, width: f32) {
    const SIZE: f32 = 26.0;
    let baseline = y + 34;
    match asked {
        Asked::Words(words) => {
            let line = fonts.line_within(words, SIZE, width);
            // A query in a script that no font has is told by its code points.
            let line = if line.is_blank() { fonts.line_within(&code_points(words), SIZE, width) } else { line };
            line.draw(canvas, MARGIN, baseline, INK);
        }
        Asked::Picture { picture, name } => {
            const SIDE: u32 = 44;
            let area = Area { x: MARGIN, y, width: SIDE, height: SIDE };
            place_within(canvas, area, picture);
            canvas.frame(area, EDGE);
            fonts.line_within(&format!("\u{200e}{name}"), SIZE, width - (SIDE + 12) as f32).draw(
                canvas,
                MARGIN + SIDE + 12,
                baseline - 2,
                INK,
            );
        }
    }
}

fn draw_card(canvas: &mut Canvas, fonts: &Fonts, (x, y): (u32, u32), rank: usize, hit: &Hit) {
    let card = Area { x, y, width: CARD_WIDTH, height: CARD_HEIGHT };
    canvas.fill(card, CARD);
    canvas.frame(card, EDGE);
    let area = Area { x: x + INSET, y: y + INSET, width: PICTURE, height: PICTURE };
    match &hit.picture {
        Some(picture) => place_within(canvas, area, picture),
        None => canvas.fill(area, PAPER),
    }
    let first = y + INSET + PICTURE + 19;
    fonts.line(&rank.to_string(), 15.0).draw(canvas, x + INSET, first, INK);
    let score = fonts.line(&format!("{:.3}", hit.score), 15.0);
    score.draw(canvas, x + CARD_WIDTH - INSET - score.width.ceil() as u32, first, ACCENT);
    // A left-to-right mark: file names keep their extension at the right, whatever script they begin with.
    let caption = fonts.line_within(&format!("\u{200e}{}", hit.name), 13.0, PICTURE as f32);
    caption.draw(canvas, x + INSET, first + 20, FADED);
}

/// Puts `picture` into the middle of `area`, as large as fits; small ones are enlarged.
fn place_within(canvas: &mut Canvas, area: Area, picture: &Picture) {
    let scale = (f64::from(area.width) / f64::from(picture.width())).min(f64::from(area.height) / f64::from(picture.height()));
    let side = |length: u32, most: u32| ((f64::from(length) * scale).round() as u32).clamp(1, most);
    let (width, height) = (side(picture.width(), area.width), side(picture.height(), area.height));
    let fitted = picture.to_rgb8().resize(width, height, Filter::Bicubic);
    let middle = Area { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    canvas.place(middle, fitted.data());
}

fn code_points(text: &str) -> String {
    text.chars().map(|c| format!("U+{:04X}", c as u32)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32) -> Picture {
        Picture::from_rgb8(width, height, [200, 30, 60].repeat((width * height) as usize)).unwrap()
    }

    fn band(words: &str, hits: usize) -> Band {
        let hit =
            |rank: usize| Hit { picture: (rank != 2).then(|| picture(30 + 200 * rank as u32, 50)), score: 0.5, name: "虹.jpg".into() };
        Band { asked: Asked::Words(words.into()), hits: (0..hits).map(hit).collect() }
    }

    #[test]
    fn a_sheet_is_as_large_as_its_bands_need() {
        let asked = Asked::Picture { picture: picture(3, 900), name: "قطة.png".into() };
        let sheet = draw("model", &[band("彩虹", 7), band("🌈", 0), Band { asked, hits: vec![] }]).unwrap();
        assert_eq!(sheet.width(), 2 * MARGIN + 5 * CARD_WIDTH + 4 * GAP);
        assert_eq!(sheet.height(), 2 * MARGIN + TITLE + 3 * HEADER + 2 * CARD_HEIGHT + GAP + 2 * BAND_GAP);
    }

    #[test]
    fn a_sheet_that_would_not_fit_into_memory_is_refused_with_a_hint() {
        let bands: Vec<Band> = (0..2000).map(|_| Band { asked: Asked::Words("x".into()), hits: vec![] }).collect();
        assert!(draw("model", &bands).unwrap_err().to_string().contains("2000 queries"));
    }
}
