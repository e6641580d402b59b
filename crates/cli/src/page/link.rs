//! Links from a page to picture files: relative where page and picture lie in one tree, `file:` otherwise; every byte that is not plain
//! is percent-encoded, so that no name can be anything but a path.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

/// Steps up that a relative link may take; what is further away is not moved together with the page.
const UP: usize = 3;

/// The link to `path` in a page that lies in `folder`.
pub fn to(path: &Path, folder: &Path) -> String {
    let (path, folder) = (whole(path), whole(folder));
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().count() - shared;
    // Something must be shared beyond the root.
    if up <= UP && shared > 1 && path.components().skip(shared).all(|part| matches!(part, Component::Normal(_))) {
        let parts = std::iter::repeat_n("..".to_owned(), up)
            .chain(path.components().skip(shared).map(|part| encoded(part.as_os_str().as_encoded_bytes())));
        let link = parts.collect::<Vec<_>>().join("/");
        // A first part with a colon would read as a scheme; it is encoded, but `./` says plainly what this is.
        return if up == 0 { format!("./{link}") } else { link };
    }
    let mut link = "file://".to_owned();
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                link.push('/');
                link.push_str(&encoded(name.as_encoded_bytes()));
            }
            // `C:` of Windows; its backslashes go.
            Component::Prefix(prefix) => {
                link.push('/');
                link.push_str(&prefix.as_os_str().to_string_lossy().replace('\\', "/"));
            }
            _ => {}
        }
    }
    link
}

/// The path from the root, without links and dots; as far as that can be known if the file is gone.
fn whole(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// RFC 3986: what is not unreserved becomes `%XX`.
fn encoded(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_near_the_page_are_linked_relatively_and_others_as_files() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let pictures = base.join("photos/海 1");
        std::fs::create_dir_all(&pictures).unwrap();
        assert_eq!(to(&pictures.join("a#b?.jpg"), &base), "./photos/%E6%B5%B7%201/a%23b%3F.jpg");
        assert_eq!(to(&pictures.join("javascript:x"), &pictures), "./javascript%3Ax");
        std::fs::create_dir(base.join("pages")).unwrap();
        assert_eq!(to(&pictures.join("\"><b>.png"), &base.join("pages")), "../photos/%E6%B5%B7%201/%22%3E%3Cb%3E.png");
        assert_eq!(to(Path::new("/nowhere/a b.jpg"), &base), "file:///nowhere/a%20b.jpg");
    }
}
