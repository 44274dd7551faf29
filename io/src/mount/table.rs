//! The kernel's table of mounts.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::point::PointError;

/// The source of our mounts, as `mount` and `df` show it.
pub(super) const SOURCE: &str = "tandem";

/// A line of the kernel's table of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: OsString,
    /// From what, as the mounter named it.
    pub source: OsString,
}

impl Mounted {
    /// Tells whether it is a mount of Tandem's.
    pub fn is_ours(&self) -> bool {
        let fuse = self.kind == "fuse" || self.kind == "fuse.tandem";
        fuse && self.source == SOURCE
    }
}

/// Returns what is mounted in this process's view, later mounts after those that they cover.
///
/// # Errors
/// When `/proc/self/mountinfo` can't be read.
pub fn mounted() -> Result<Vec<Mounted>, PointError> {
    let table = fs::read("/proc/self/mountinfo").map_err(PointError::Table)?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .collect())
}

/// Reads a line by proc(5): `36 35 98:0 /root /point options fields - type source super`.
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut words = line.split(|&byte| byte == b' ');
    let point = words.nth(4)?;
    let mut rest = words.skip_while(|&word| word != b"-").skip(1);
    let kind = rest.next()?;
    let source = rest.next()?;
    Some(Mounted {
        point: PathBuf::from(unescape(point)),
        kind: unescape(kind),
        source: unescape(source),
    })
}

/// Undoes the kernel's octal escapes of blanks and backslashes (`\040`).
fn unescape(word: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0_u8, |value, digit| {
                let digit = digit.checked_sub(b'0').filter(|&digit| digit < 8)?;
                value.checked_mul(8)?.checked_add(digit)
            })
        };
        match (byte, tail.split_at_checked(3)) {
            (b'\\', Some((digits, after))) if octal(digits).is_some() => {
                bytes.extend(octal(digits));
                rest = after;
            }
            _ => bytes.push(byte),
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn a_line_of_the_table_is_read_with_its_escapes() {
        let line = br"36 35 0:41 / /mnt/my\040mount rw,nosuid shared:1 master:2 - fuse.tandem tandem rw,user_id=0";
        let read = parse_line(line).unwrap();
        assert_eq!(read.point, Path::new("/mnt/my mount"));
        assert!(read.is_ours());
    }

    #[test]
    fn a_line_that_is_cut_is_passed_over() {
        assert_eq!(parse_line(b"36 35 0:41 / /mnt rw -"), None);
        assert_eq!(parse_line(b""), None);
    }

    #[test]
    fn an_escape_that_is_none_stays_as_it_is() {
        assert_eq!(unescape(br"a\9"), OsStr::new(r"a\9"));
        assert_eq!(unescape(br"a\134b"), OsStr::new(r"a\b"));
        assert_eq!(unescape(br"a\777b"), OsStr::new(r"a\777b"));
    }

    #[test]
    fn somebody_elses_mount_is_not_ours() {
        let line = b"36 35 0:41 / /mnt rw - ext4 /dev/sda rw";
        assert!(!parse_line(line).unwrap().is_ours());
    }
}
