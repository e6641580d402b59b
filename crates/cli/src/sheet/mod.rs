//! The contact sheet: one picture to look at, with a band for each query: what was asked, then the hits in order with rank, score,
//! name and, where there are captions, the first of them. All lengths are pixels. [`Band`] is also what a page shows (`page/`).

mod canvas;
mod text;

use std::path::PathBuf;

use hua::image::{Filter, Picture};

use self::canvas::{Area, Canvas, Color};
use self::text::Fonts;
pub use self::text::visible;
use crate::complaint::Complaint;

/// What was asked.
pub enum Asked {
    /// Several words and pictures made one query; `words` is the whole as one line: `beach.jpg + 2:sunset - people`.
    Composed {
        pictures: Vec<Picture>,
        words: String,
    },
    Picture {
        picture: Picture,
        name: String,
    },
    Words(String),
}

impl Asked {
    /// The words, or the picture's path.
    pub fn name(&self) -> &str {
        match self {
            Self::Picture { name, .. } => name,
            Self::Composed { words, .. } | Self::Words(words) => words,
        }
    }

    /// The pictures that are part of the query.
    pub fn pictures(&self) -> &[Picture] {
        match self {
            Self::Composed { pictures, .. } => pictures,
            Self::Picture { picture, .. } => std::slice::from_ref(picture),
            Self::Words(_) => &[],
        }
    }
}

/// A query and its hits, best first.
pub struct Band {
    pub asked: Asked,
    /// What else is to be said of it: the filter, or why there are no hits.
    pub note: Option<String>,
    pub hits: Vec<Hit>,
}

/// A picture that was found.
#[derive(Default)]
pub struct Hit {
    /// None if it cannot be read any more; a [`thumbnail`] is enough.
    pub picture: Option<Picture>,
    pub score: f32,
    /// The file's name, without its folder.
    pub name: String,
    /// The file, where there is one to open.
    pub path: Option<PathBuf>,
    pub captions: Vec<Caption>,
    /// Further short lines, such as a date or tags.
    pub notes: Vec<String>,
}

/// What a library says about a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caption {
    /// As in `lang` of HTML (`zh`, `pt-BR`), where it is known.
    pub language: Option<String>,
    pub text: String,
}

/// The longer side of a thumbnail; a card of a page is as wide on a dense screen.
const THUMBNAIL: u32 = 384;

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
/// A third line below pictures, on sheets where any has a caption.
const THIRD_LINE: u32 = 19;
/// The band's header: one large line.
const HEADER: u32 = 56;
/// A small line below it, where there is something to note.
const NOTE: u32 = 22;
/// Space between a band and the next.
const BAND_GAP: u32 = 40;
/// The line at the top that names the model.
const TITLE: u32 = 28;

/// `picture` as small as sheets and pages need it, or as it is if it is small already: what a hit may hold instead of a photograph.
pub fn thumbnail(picture: &Picture) -> Picture {
    let (width, height) = (picture.width(), picture.height());
    let scale = f64::from(THUMBNAIL) / f64::from(width.max(height));
    if scale >= 1.0 {
        return picture.to_rgb8();
    }
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    picture.to_rgb8().resize(side(width), side(height), Filter::Bicubic)
}

/// What the bands of one sheet have in common.
struct Layout {
    columns: u32,
    card: u32,
}

impl Layout {
    fn of(bands: &[Band]) -> Self {
        let most = bands.iter().map(|band| band.hits.len()).max().unwrap_or(0).min(COLUMNS as usize);
        let captions = bands.iter().flat_map(|band| &band.hits).any(|hit| !hit.captions.is_empty());
        Self { columns: (most as u32).clamp(3, COLUMNS), card: CARD_HEIGHT + if captions { THIRD_LINE } else { 0 } }
    }

    fn header(band: &Band) -> u32 {
        HEADER + if band.note.is_some() { NOTE } else { 0 }
    }

    fn band(&self, band: &Band) -> u32 {
        let rows = (band.hits.len() as u32).div_ceil(self.columns);
        Self::header(band) + (rows * (self.card + GAP)).saturating_sub(GAP)
    }
}

/// Draws the sheet; `about` is the line at its top (the model and where was searched).
pub fn draw(about: &str, bands: &[Band]) -> anyhow::Result<Picture> {
    let fonts = Fonts::load();
    let layout = Layout::of(bands);
    let width = 2 * MARGIN + layout.columns * CARD_WIDTH + (layout.columns - 1) * GAP;
    let bands_height: u64 = bands.iter().map(|band| u64::from(layout.band(band))).sum();
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
        if let Some(note) = &band.note {
            fonts.line_within(note, 14.0, inner).draw(&mut canvas, MARGIN, y + HEADER + 6, FADED);
        }
        let first = y + Layout::header(band);
        for (hit, rank) in band.hits.iter().zip(0u32..) {
            let (column, row) = (rank % layout.columns, rank / layout.columns);
            let corner = (MARGIN + column * (CARD_WIDTH + GAP), first + row * (layout.card + GAP));
            draw_card(&mut canvas, &fonts, Area { x: corner.0, y: corner.1, width: CARD_WIDTH, height: layout.card }, rank + 1, hit);
        }
        y += layout.band(band);
    }
    Ok(Picture::from_rgb8(width, height as u32, canvas.into_pixels())?)
}

/// The pictures of the query, small, then its words.
fn draw_header(canvas: &mut Canvas, fonts: &Fonts, asked: &Asked, y: u32, width: f32) {
    const SIZE: f32 = 26.0;
    const SIDE: u32 = 44;
    let mut x = MARGIN;
    for picture in asked.pictures().iter().take(6) {
        let area = Area { x, y, width: SIDE, height: SIDE };
        place_within(canvas, area, picture);
        canvas.frame(area, EDGE);
        x += SIDE + 12;
    }
    let width = width - (x - MARGIN) as f32;
    let line = match asked {
        // A left-to-right mark: see `draw_card`.
        Asked::Picture { name, .. } => fonts.line_within(&format!("\u{200e}{name}"), SIZE, width),
        Asked::Composed { words, .. } | Asked::Words(words) => {
            let line = fonts.line_within(words, SIZE, width);
            // A query in a script that no font has is told by its code points.
            if line.is_blank() { fonts.line_within(&code_points(words), SIZE, width) } else { line }
        }
    };
    line.draw(canvas, x, y + if x > MARGIN { 32 } else { 34 }, INK);
}

fn draw_card(canvas: &mut Canvas, fonts: &Fonts, card: Area, rank: u32, hit: &Hit) {
    let Area { x, y, .. } = card;
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
    let name = fonts.line_within(&format!("\u{200e}{}", hit.name), 13.0, PICTURE as f32);
    name.draw(canvas, x + INSET, first + 20, FADED);
    if let Some(Caption { text, .. }) = hit.captions.first() {
        let caption = fonts.line_start(text, 13.0, PICTURE as f32);
        let right = x + CARD_WIDTH - INSET - (caption.width.ceil() as u32).min(PICTURE);
        caption.draw(canvas, if caption.right_to_left { right } else { x + INSET }, first + 20 + THIRD_LINE, INK);
    }
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
        let hit = |rank: usize| Hit {
            picture: (rank != 2).then(|| picture(30 + 200 * rank as u32, 50)),
            score: 0.5,
            name: "虹.jpg".into(),
            ..Hit::default()
        };
        Band { asked: Asked::Words(words.into()), note: None, hits: (0..hits).map(hit).collect() }
    }

    #[test]
    fn a_sheet_is_as_large_as_its_bands_need() {
        let asked = Asked::Picture { picture: picture(3, 900), name: "قطة.png".into() };
        let sheet = draw("model", &[band("彩虹", 7), band("🌈", 0), Band { asked, note: None, hits: vec![] }]).unwrap();
        assert_eq!(sheet.width(), 2 * MARGIN + 5 * CARD_WIDTH + 4 * GAP);
        assert_eq!(sheet.height(), 2 * MARGIN + TITLE + 3 * HEADER + 2 * CARD_HEIGHT + GAP + 2 * BAND_GAP);
    }

    #[test]
    fn captions_and_notes_take_a_line_where_there_are_any() {
        let mut captioned = band("彩虹", 7);
        captioned.hits[3].captions = vec![Caption { language: None, text: "قوس قزح فوق البحر ".repeat(9) }];
        captioned.note = Some("in the folder 2023".into());
        captioned.asked = Asked::Composed { pictures: vec![picture(40, 20); 3], words: "a.jpg + 海 - b.jpg".into() };
        let more = draw("model", &[captioned]).unwrap().height() - draw("model", &[band("彩虹", 7)]).unwrap().height();
        assert_eq!(more, NOTE + 2 * THIRD_LINE);
    }

    #[test]
    fn a_thumbnail_keeps_the_shape_and_a_small_picture_its_pixels() {
        let of = |width, height| (thumbnail(&picture(width, height)).width(), thumbnail(&picture(width, height)).height());
        assert_eq!((of(4000, 3000), of(10, 9000), of(20, 10)), ((384, 288), (1, 384), (20, 10)));
    }

    #[test]
    fn a_sheet_that_would_not_fit_into_memory_is_refused_with_a_hint() {
        let bands: Vec<Band> = (0..2000).map(|_| band("x", 0)).collect();
        assert!(draw("model", &bands).unwrap_err().to_string().contains("2000 queries"));
    }
}
