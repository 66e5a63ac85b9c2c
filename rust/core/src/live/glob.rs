//! Paths by pattern: `*` and `?` stand for parts of a name, never for `/`.
//!
//! Names that begin with a point are matched only by a pattern that begins with one.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Whether a name fits a pattern. Linear in the product of their lengths at worst.
#[must_use]
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || name.get(n) == Some(&c) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    p = star + 1;
                    n = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

/// The files that a pattern means now, sorted, and the folders in which further ones may appear.
pub fn files(pattern: &Path, folders: &mut Vec<PathBuf>) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut components = pattern.components().peekable();
    while let Some(component) = components.next() {
        let last = components.peek().is_none();
        let Component::Normal(name) = component else {
            for path in &mut found {
                path.push(component);
            }
            continue;
        };
        let wild = name.as_bytes().iter().any(|c| matches!(c, b'*' | b'?'));
        let mut next = Vec::new();
        for path in found {
            if wild || last {
                folders.push(if path.as_os_str().is_empty() {
                    PathBuf::from(".")
                } else {
                    path.clone()
                });
            }
            if !wild {
                next.push(path.join(name));
                continue;
            }
            // A folder that cannot be read has no files yet.
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            next.extend(
                entries
                    .filter(|entry| fits(name.as_bytes(), entry.file_name().as_bytes()))
                    .map(|entry| path.join(entry.file_name())),
            );
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, fit) in [
            ("*", "mail.log", true),
            ("*.log", "mail.log", true),
            ("*.log", "mail.log.1", false),
            ("m?il.*", "mail.log", true),
            ("*a*b*", "xaxxbx", true),
            ("*a*b*", "xbxxax", false),
            ("*", ".hidden", false),
            (".h*", ".hidden", true),
            ("mail", "mail", true),
            ("mail", "mai", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/x.log", "a/y.log", "b/x.log", "b/x.txt"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut folders = Vec::new();
        let found = files(&folder.path().join("*/x.*g"), &mut folders);
        assert_eq!(
            found,
            [folder.path().join("a/x.log"), folder.path().join("b/x.log")]
        );
        assert_eq!(folders.len(), 3);
    }
}
