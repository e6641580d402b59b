//! A folder of difficult picture files, made anew for each test that wants one: `#[path = "../../../tests/golden/difficult/mod.rs"] mod difficult;`.
//!
//! Names of many scripts, links that go round or nowhere, files that are empty, cut off, of another kind than their name says, in modes that few
//! programs expect, and one of 100 megapixels in 22 kB (beside this file; `Image.new('1', (12500, 8000), 1).save(path, optimize=True)` of
//! Pillow 13.0.0). Whoever reads the folder is to have an answer for each: a picture, or a reason.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses what it needs")]

use std::fs;
use std::path::Path;

/// A file of the folder that a reader meets.
pub struct Difficult {
    /// Its path below the folder, as `hua_data::name_of` writes it.
    pub name: &'static str,
    /// Whether it is a picture that can be decoded.
    pub sound: bool,
}

/// Fills an empty folder and says what is to be found in it, in no order. Nothing else is a picture there.
pub fn make(folder: &Path) -> Vec<Difficult> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut made = vec![];
    let mut add = |name: &'static str, content: &[u8], sound: bool| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        made.push(Difficult { name, sound });
    };
    let files = |name: &str| fs::read(golden.join("image/files").join(name)).unwrap();

    let plain = files("rgb.jpg");
    for name in [
        "名字/二〇二四年.jpg",
        "صورة/شجرة خضراء.jpg",
        "עברית.JPG",
        "e\u{301}te\u{301} décomposé.jpg",
        "👩‍👩‍👧 rainbow 🌈.jpg",
        "two  spaces .jpg",
        "--help.jpg",
        "#!{1..2}.jpg",
        "\u{202e}gpj.right-to-left.jpg",
    ] {
        add(name, &plain, true);
    }
    if cfg!(unix) {
        add("line\nbreak.jpg", &plain, true);
        add("back\\slash.jpg", &plain, true);
    }

    // A name says nothing.
    add("png-within.jpg", &files("rgb8.png"), true);
    add("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", false);
    add("phone.heic", &fs::read(golden.join("facts/plain.heic")).unwrap(), false);
    add("raw.cr2", &fs::read(golden.join("facts/x.cr2")).unwrap(), true);
    add("raw-without-preview.dng", &fs::read(golden.join("facts/small.dng")).unwrap(), false);

    add("empty.png", b"", false);
    add("one-byte.gif", b"G", false);
    add("cut-off.jpg", &plain[..plain.len() / 2], false);
    add("cut-off.png", &files("rgb8.png")[..100], false);
    add("zeros.bmp", &[0; 5000], false);

    for (name, file) in [
        ("cmyk.jpg", "cmyk.jpg"),
        ("16-bit.png", "rgb16.png"),
        ("16-bit-grey.tif", "i16.tif"),
        ("animated.gif", "animated.gif"),
        ("animated.webp", "animated.webp"),
        ("turned.jpg", "turned6.jpg"),
        ("palette.png", "palette1-alpha.png"),
        ("one-pixel.png", "one.png"),
    ] {
        add(name, &files(file), true);
    }
    add("100-megapixels.png", &fs::read(golden.join("difficult/100-megapixels.png")).unwrap(), true);

    // Passed over: hidden, or no picture by name.
    for name in [".hidden.jpg", ".thumbnails/a.jpg", "sub/notes.txt", "no-extension"] {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), &plain).unwrap();
    }
    fs::create_dir(folder.join("folder.png")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        // Round in a circle, to itself, nowhere; to a file, which is a picture of its own.
        symlink("..", folder.join("sub/round")).unwrap();
        symlink("itself.jpg", folder.join("itself.jpg")).unwrap();
        symlink("nowhere.jpg", folder.join("nowhere-link.jpg")).unwrap();
        symlink("cmyk.jpg", folder.join("link.jpg")).unwrap();
        for (name, sound) in [("itself.jpg", false), ("nowhere-link.jpg", false), ("link.jpg", true)] {
            made.push(Difficult { name, sound });
        }
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        fs::write(folder.join(std::ffi::OsStr::from_bytes(b"latin-\xe9.jpg")), &plain).unwrap();
        made.push(Difficult { name: "latin-\\xe9.jpg", sound: true });
    }
    made
}
