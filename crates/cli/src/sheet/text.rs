//! Lines of text in the scripts people search with: Latin, Greek, Cyrillic, Arabic, Han, kana, hangul, and emoji.
//!
//! The fonts are part of the program, so that a sheet looks the same on every machine. A line goes through the usual three steps:
//! the bidirectional algorithm (UAX #9, `unicode-bidi`) puts runs in visual order, each run is shaped (`rustybuzz`: Arabic letters
//! join, marks find their place) in the first font that has its characters, and outlines become coverage (`ab_glyph`). Characters that no
//! font has are left out. rustybuzz and not its successor harfrust, because that one takes ten times as long to build.

use std::fmt::Write;

use ab_glyph::{Font, FontRef, GlyphId, OutlinedGlyph, PxScale, point};
use rustybuzz::{Direction, Face, UnicodeBuffer};
use unicode_bidi::BidiInfo;

use super::canvas::{Canvas, Color};

/// The fonts in the order they are asked: the first one that has a character draws it. Their licences stand beside them.
const FONTS: [&[u8]; 4] = [
    include_bytes!("../../fonts/NotoSans.ttf"),
    include_bytes!("../../fonts/NotoSansArabic.ttf"),
    include_bytes!("../../fonts/DroidSansFallback.ttf"),
    include_bytes!("../../fonts/NotoEmoji.ttf"),
];

/// The fonts, read.
pub struct Fonts(Vec<(FontRef<'static>, Face<'static>)>);

/// A line that is laid out: glyphs with their places, left to right.
pub struct Line {
    glyphs: Vec<OutlinedGlyph>,
    /// Pixels.
    pub width: f32,
    /// Whether the text is read from the right.
    pub right_to_left: bool,
}

/// Characters of a text that are ever laid out for one line: shaping takes time, and no card is so wide.
const LONGEST: usize = 240;

impl Fonts {
    pub fn load() -> Self {
        let load = |data| {
            let outlines = FontRef::try_from_slice(data).expect("the fonts are part of the program and tested");
            let face = Face::from_slice(data, 0).expect("the fonts are part of the program and tested");
            (outlines, face)
        };
        Self(FONTS.into_iter().map(load).collect())
    }

    /// Lays out `text` on one line; `size` is the height of the em square in pixels. Hidden characters are [`visible`].
    pub fn line(&self, text: &str, size: f32) -> Line {
        let text = visible(text);
        let bidi = BidiInfo::new(&text, None);
        let right_to_left = bidi.paragraphs.first().is_some_and(|paragraph| paragraph.level.is_rtl());
        let mut line = Line { glyphs: Vec::new(), width: 0.0, right_to_left };
        for paragraph in &bidi.paragraphs {
            let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for run in runs {
                let right_to_left = levels[run.start].is_rtl();
                let mut pieces = self.by_font(&text[run]);
                if right_to_left {
                    pieces.reverse();
                }
                for (font, piece) in pieces {
                    self.shape(&mut line, font, &piece, right_to_left, size);
                }
            }
        }
        line
    }

    /// [`Fonts::line`], cut in the middle until it is at most `width` pixels wide: the end of a file name says as much as its beginning.
    pub fn line_within(&self, text: &str, size: f32, width: f32) -> Line {
        self.cut(text, size, width, middle_cut)
    }

    /// [`Fonts::line`], cut at its end until it is at most `width` pixels wide: a sentence is told by its beginning.
    pub fn line_start(&self, text: &str, size: f32, width: f32) -> Line {
        self.cut(text, size, width, |text, kept| text[..kept].iter().chain(&['…']).collect())
    }

    fn cut(&self, text: &str, size: f32, width: f32, cut: impl Fn(&[char], usize) -> String) -> Line {
        let characters: Vec<char> = text.chars().collect();
        let long = characters.len() > LONGEST;
        if !long {
            let line = self.line(text, size);
            if line.width <= width {
                return line;
            }
        }
        let (mut fits, mut wide) = (0, characters.len().min(LONGEST + 1));
        while wide - fits > 1 {
            let kept = (fits + wide) / 2;
            if self.line(&cut(&characters, kept), size).width <= width { fits = kept } else { wide = kept }
        }
        self.line(&cut(&characters, fits), size)
    }

    /// `text` in pieces of one font each. Marks and joiners stay with the character before them, if its font has them.
    fn by_font(&self, text: &str) -> Vec<(usize, String)> {
        let mut pieces: Vec<(usize, String)> = Vec::new();
        for character in text.chars() {
            let has = |font: usize| self.0[font].1.glyph_index(character).is_some();
            let current = pieces.last().map(|(font, _)| *font);
            let attached = unicode_width::UnicodeWidthChar::width(character) == Some(0);
            let Some(font) = current.filter(|font| attached && has(*font)).or_else(|| (0..self.0.len()).find(|font| has(*font))) else {
                continue;
            };
            match pieces.last_mut() {
                Some((last, piece)) if *last == font => piece.push(character),
                _ => pieces.push((font, character.to_string())),
            }
        }
        pieces
    }

    fn shape(&self, line: &mut Line, font: usize, text: &str, right_to_left: bool, size: f32) {
        let (outlines, face) = &self.0[font];
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        buffer.set_direction(if right_to_left { Direction::RightToLeft } else { Direction::LeftToRight });
        let shaped = rustybuzz::shape(face, &[], buffer);
        let unit = size / face.units_per_em() as f32;
        // ab_glyph scales by ascent − descent, not by the em square.
        let scale = PxScale::from(unit * outlines.height_unscaled());
        for (info, position) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
            let at = point(line.width + position.x_offset as f32 * unit, -(position.y_offset as f32) * unit);
            let glyph = GlyphId(info.glyph_id as u16).with_scale_and_position(scale, at);
            line.glyphs.extend(outlines.outline_glyph(glyph));
            line.width += position.x_advance as f32 * unit;
        }
    }
}

impl Line {
    /// Whether nothing of the text can be drawn.
    pub fn is_blank(&self) -> bool {
        self.glyphs.is_empty()
    }

    /// Draws the line from `x` on the baseline `y`.
    pub fn draw(&self, canvas: &mut Canvas, x: u32, y: u32, color: Color) {
        for glyph in &self.glyphs {
            let bounds = glyph.px_bounds();
            let (left, top) = (x as i32 + bounds.min.x as i32, y as i32 + bounds.min.y as i32);
            glyph.draw(|column, row, coverage| canvas.mix(left + column as i32, top + row as i32, color, coverage));
        }
    }
}

/// `text` with what would act unseen made seen: controls become blanks, and the characters that turn text around or end its isolation
/// are written as their code points, for `photo<U+202E>gnp.exe` must not look like `photoexe.png`. Marks of direction (U+200E, U+200F, U+061C)
/// stay: people type them, and they move only what stands beside them.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(out, "<U+{:04X}>", character as u32).expect("a string takes everything");
            }
            // Code points that are no characters; HTML does not allow them.
            '\u{fdd0}'..='\u{fdef}' => out.push('\u{fffd}'),
            other if (other as u32) & 0xfffe == 0xfffe => out.push('\u{fffd}'),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// The first and last characters of `text`, `kept` of them, around `…`.
fn middle_cut(text: &[char], kept: usize) -> String {
    let (start, end) = text.split_at(kept.div_ceil(2));
    start.iter().chain(&['…']).chain(&end[end.len() - kept / 2..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_of_the_gallery_can_be_written() {
        let fonts = Fonts::load();
        for text in ["rainbow", "彩虹", "arcoíris", "arc-en-ciel", "радуга", "虹 バイオリン", "무지개", "ألوان الطيف", "è più", "🌈🎻☀"]
        {
            let pieces = fonts.by_font(text);
            assert_eq!(pieces.iter().map(|(_, piece)| piece.as_str()).collect::<String>(), text);
            assert!(!fonts.line(text, 20.0).is_blank());
        }
    }

    #[test]
    fn arabic_letters_join() {
        let fonts = Fonts::load();
        let (apart, joined) = (fonts.line("ب\u{200c}ب\u{200c}ب", 100.0), fonts.line("ببب", 100.0));
        assert!(joined.width < apart.width, "{} {}", joined.width, apart.width);
    }

    #[test]
    fn right_to_left_text_stands_right_to_left_and_numbers_in_it_do_not() {
        // The order of the runs on the line: the first word of an Arabic text is at its right end.
        let text = "كلب 12 قطة";
        let bidi = BidiInfo::new(text, None);
        let paragraph = &bidi.paragraphs[0];
        let (_, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        assert_eq!(runs.into_iter().map(|run| text[run].trim()).collect::<Vec<_>>(), ["قطة", "12", "كلب"]);
    }

    #[test]
    fn a_sequence_of_emoji_is_one_picture() {
        let fonts = Fonts::load();
        let one = fonts.line("👩", 20.0).width;
        for sequence in ["👩‍🚀", "👍🏽", "🇯🇵"] {
            assert!(fonts.line(sequence, 20.0).width < 1.5 * one, "{sequence}");
        }
    }

    #[test]
    fn what_no_font_has_is_left_out() {
        let fonts = Fonts::load();
        assert!(fonts.line("ไทย", 20.0).is_blank());
        assert_eq!(fonts.line("aไb", 20.0).width, fonts.line("ab", 20.0).width);
        assert!(fonts.line("", 20.0).is_blank());
    }

    #[test]
    fn a_long_name_is_cut_in_the_middle_to_the_width() {
        let fonts = Fonts::load();
        let name = "a-very-long-file-name-that-does-not-fit-彩虹.jpeg";
        let line = fonts.line_within(name, 13.0, 120.0);
        assert!(line.width <= 120.0 && line.width > 100.0, "{}", line.width);
        assert_eq!(middle_cut(&"abcdef".chars().collect::<Vec<_>>(), 3), "ab…f");
    }

    #[test]
    fn characters_that_turn_a_name_around_are_shown() {
        assert_eq!(visible("photo\u{202e}gpj.exe"), "photo<U+202E>gpj.exe");
        assert_eq!(visible("a\0b\nc\u{fffe}\u{2069}"), "a b c\u{fffd}<U+2069>");
        assert_eq!(visible("قطة\u{200f} 猫 👩\u{200d}🚀"), "قطة\u{200f} 猫 👩\u{200d}🚀");
    }

    #[test]
    fn a_text_of_a_megabyte_is_cut_without_laying_it_all_out() {
        let fonts = Fonts::load();
        let line = fonts.line_start(&"قوس قزح ".repeat(100_000), 13.0, 120.0);
        assert!(line.right_to_left && line.width <= 120.0 && line.width > 90.0, "{}", line.width);
    }
}
