//! Names, symlink targets and names of extended attributes: bytes that came from outside and
//! were found fit to be used.
//!
//! Law (P6): there is no other way to get one than to parse it, deserialising included, so that
//! whoever holds a [`Name`] holds one component of a path: it can't leave its directory, can't
//! end a C string early, and can't mean `.tandem`, on a file system that folds case either.
//! Names are bytes; nothing here asks for UTF-8.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt::{self, Write as _};

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::limits;

/// The directory at the root of a folder that belongs to Tandem, and that is never shared,
/// listed or accepted at any depth.
pub const RESERVED: &[u8] = b".tandem";

/// Why bytes are no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// There are too many bytes.
    #[error("it has {len} bytes, more than the {max} allowed")]
    TooLong {
        /// How many there are.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// It has a NUL, at this index.
    #[error("it has a NUL at byte {0}")]
    Nul(usize),
    /// It has a slash, at this index, and so is more than one name.
    #[error("it has a slash at byte {0}")]
    Slash(usize),
    /// It is `.` or `..`, which name a directory that has another name.
    #[error("it is . or ..")]
    Dots,
    /// It is `.tandem`, in whatever case, or begins with `user.tandem.`.
    #[error("it is a name that belongs to Tandem")]
    Reserved,
    /// It names an extended attribute outside the namespace `user.`.
    #[error("it does not begin with user. and go on")]
    Namespace,
}

/// The name of an entry in a directory: 1 to 255 bytes, no slash, no NUL; neither `.` nor `..`
/// nor, in whatever case of its letters, `.tandem`. Ordered by its bytes.
///
/// A clone shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Returns `bytes` as a name, or what is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        let bytes = text(bytes, limits::NAME_LEN_MAX)?;
        if let Some(at) = bytes.iter().position(|&byte| byte == b'/') {
            return Err(NameError::Slash(at));
        }
        if bytes == b"." || bytes == b".." {
            return Err(NameError::Dots);
        }
        if bytes.eq_ignore_ascii_case(RESERVED) {
            return Err(NameError::Reserved);
        }
        Ok(Self(bytes.into()))
    }
}

/// What a symlink points to: 1 to 4,095 bytes, no NUL. It may lead anywhere; Tandem never
/// follows it.
///
/// A clone shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(Arc<[u8]>);

impl TargetPath {
    /// Returns `bytes` as a target, or what is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        Ok(Self(text(bytes, limits::TARGET_LEN_MAX)?.into()))
    }
}

/// The name of an extended attribute: `user.` and more, at most 255 bytes, no NUL. Other
/// namespaces grant rights or belong to one machine, and are never taken from a peer.
///
/// A clone shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XattrName(Arc<[u8]>);

impl XattrName {
    /// The namespace of attributes that any user may set.
    const NAMESPACE: &[u8] = b"user.";

    /// Those that Tandem shows, and that nobody sets: they are neither stored nor sent.
    const RESERVED: &[u8] = b"user.tandem.";

    /// Returns `bytes` as the name of an extended attribute, or what is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        let bytes = text(bytes, limits::XATTR_NAME_LEN_MAX)?;
        match bytes.strip_prefix(Self::NAMESPACE) {
            Some([_, ..]) if bytes.starts_with(Self::RESERVED) => Err(NameError::Reserved),
            Some([_, ..]) => Ok(Self(bytes.into())),
            Some([]) | None => Err(NameError::Namespace),
        }
    }
}

/// Returns `bytes` when there is at least one, at most `max`, and none is NUL.
fn text(bytes: &[u8], max: usize) -> Result<&[u8], NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > max {
        return Err(NameError::TooLong {
            len: bytes.len(),
            max,
        });
    }
    match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => Err(NameError::Nul(at)),
        None => Ok(bytes),
    }
}

macro_rules! parsed_bytes {
    ($name:ident, $max:expr, $what:literal) => {
        impl $name {
            /// Returns the bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        /// So that a map by it can be searched with bytes that need not be one.
        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = NameError;

            fn try_from(bytes: &[u8]) -> Result<Self, NameError> {
                Self::parse(bytes)
            }
        }

        /// For people: what can be shown as it is, is; the rest is escaped, differently for
        /// different bytes, and never moves a terminal's cursor.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                shown(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_char('"')?;
                shown(&self.0, f)?;
                f.write_char('"')
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Parse;

                impl<'de> Visitor<'de> for Parse {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("the bytes of ", $what))
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        $name::parse(bytes)
                            .map_err(|error| E::custom(format_args!("{}: {error}", $what)))
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<$name, A::Error> {
                        self.visit_bytes(&gather(seq, $max)?)
                    }
                }

                deserializer.deserialize_bytes(Parse)
            }
        }
    };
}

parsed_bytes!(Name, limits::NAME_LEN_MAX, "a name");
parsed_bytes!(TargetPath, limits::TARGET_LEN_MAX, "a symlink's target");
parsed_bytes!(
    XattrName,
    limits::XATTR_NAME_LEN_MAX,
    "the name of an extended attribute"
);

/// Gathers bytes from a format that writes them one by one; stops at one more than `max`, which
/// is then found too long.
fn gather<'de, A: SeqAccess<'de>>(mut seq: A, max: usize) -> Result<Vec<u8>, A::Error> {
    let mut bytes = Vec::new();
    while bytes.len() <= max {
        match seq.next_element()? {
            Some(byte) => bytes.push(byte),
            None => break,
        }
    }
    Ok(bytes)
}

/// Writes bytes for people. A backslash is doubled, so that what is escaped can't be mistaken
/// for what is not.
fn shown(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for piece in bytes.utf8_chunks() {
        for letter in piece.valid().chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                letter if letter.is_control() || reorders(letter) => {
                    write!(f, "{}", letter.escape_unicode())?;
                }
                letter => f.write_char(letter)?,
            }
        }
        for byte in piece.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Returns whether a letter changes the direction of those around it, and so can make one name
/// look like another (Unicode's Bidi_Control).
fn reorders(letter: char) -> bool {
    matches!(letter,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::collection::vec as bytes_of;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_leave_the_directory_are_refused_s30() {
        let cases: &[(&[u8], NameError)] = &[
            (b"", NameError::Empty),
            (b".", NameError::Dots),
            (b"..", NameError::Dots),
            (b"/", NameError::Slash(0)),
            (b"../etc", NameError::Slash(2)),
            (b"a/b", NameError::Slash(1)),
            (b"a\0b", NameError::Nul(1)),
            (b".tandem", NameError::Reserved),
            (b".Tandem", NameError::Reserved),
            (b".TANDEM", NameError::Reserved),
            (&[b'x'; 256], NameError::TooLong { len: 256, max: 255 }),
        ];
        for (bytes, error) in cases {
            assert_eq!(Name::parse(bytes), Err(*error), "{bytes:?}");
        }
    }

    #[test]
    fn odd_names_that_a_file_system_holds_are_names() {
        let cases: &[&[u8]] = &[
            b"...",
            b".tandem2",
            b"tandem",
            b" ",
            b"-rf",
            b"a\nb",
            b"\xff\xfe",
            &[b'x'; 255],
        ];
        for bytes in cases {
            assert_eq!(Name::parse(bytes).unwrap().as_bytes(), *bytes);
        }
    }

    #[test]
    fn targets_may_lead_anywhere() {
        for bytes in [&b"/etc/passwd"[..], b"../..", b".tandem", &[b'x'; 4095]] {
            assert_eq!(TargetPath::parse(bytes).unwrap().as_bytes(), bytes);
        }
        assert_eq!(TargetPath::parse(b""), Err(NameError::Empty));
        assert_eq!(TargetPath::parse(b"a\0"), Err(NameError::Nul(1)));
        assert_eq!(
            TargetPath::parse(&[b'x'; 4096]),
            Err(NameError::TooLong {
                len: 4096,
                max: 4095
            })
        );
    }

    #[test]
    fn only_user_attributes_have_names() {
        assert_eq!(
            XattrName::parse(b"user.tag").unwrap().as_bytes(),
            b"user.tag"
        );
        for bytes in [
            &b"user."[..],
            b"USER.tag",
            b"security.capability",
            b"trusted.x",
            b"u",
        ] {
            assert_eq!(XattrName::parse(bytes), Err(NameError::Namespace));
        }
        assert_eq!(XattrName::parse(b"user.\0"), Err(NameError::Nul(5)));
        let ours = XattrName::parse(b"user.tandem.state");
        assert_eq!(ours, Err(NameError::Reserved));
        assert!(XattrName::parse(b"user.tandem").is_ok());
        assert_eq!(
            XattrName::parse(&[b'u'; 256]),
            Err(NameError::TooLong { len: 256, max: 255 })
        );
    }

    #[test]
    fn what_is_shown_cannot_move_a_cursor() {
        let shown = |bytes: &[u8]| Name::parse(bytes).unwrap().to_string();
        assert_eq!(shown("größe.txt".as_bytes()), "größe.txt");
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(shown(b"caf\xe9"), "caf\\xe9");
        assert_eq!(shown(b"caf\\xe9"), "caf\\\\xe9");
        assert_eq!(shown("a\u{202e}txt.exe".as_bytes()), "a\\u{202e}txt.exe");
    }

    #[test]
    fn a_map_by_name_is_searched_with_bytes() {
        let map = BTreeMap::from([
            (Name::parse(b"b").unwrap(), 2),
            (Name::parse(b"a").unwrap(), 1),
        ]);
        assert_eq!(map.get(&b"b"[..]), Some(&2));
        assert_eq!(map.get(&b"a/b"[..]), None);
    }

    /// A name by the rules, written as slowly as they are said.
    fn is_name(bytes: &[u8]) -> bool {
        let folded = bytes.to_ascii_lowercase();
        (1..=255).contains(&bytes.len())
            && !bytes.contains(&0)
            && !bytes.contains(&b'/')
            && ![&b"."[..], b"..", b".tandem"].contains(&&folded[..])
    }

    /// Bytes of the letters that matter, so that the reserved ones come up.
    fn near_names() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            bytes_of(any::<u8>(), 0..300),
            bytes_of(prop::sample::select(&b"./\0a.."[..]), 0..4),
            bytes_of(any::<bool>(), 7).prop_map(|upper| {
                RESERVED
                    .iter()
                    .zip(upper)
                    .map(|(byte, upper)| {
                        if upper {
                            byte.to_ascii_uppercase()
                        } else {
                            *byte
                        }
                    })
                    .collect()
            }),
        ]
    }

    proptest! {
        #[test]
        fn exactly_the_names_parse(bytes in near_names()) {
            prop_assert_eq!(Name::parse(&bytes).is_ok(), is_name(&bytes));
        }

        #[test]
        fn deserialising_parses(bytes in near_names()) {
            // postcard writes a list of bytes as it writes bytes: a length, then each of them.
            let written = postcard::to_allocvec(&bytes).unwrap();
            let read: Result<Name, _> = postcard::from_bytes(&written);
            prop_assert_eq!(read.ok(), Name::parse(&bytes).ok());
        }

        #[test]
        fn a_name_survives_being_stored(bytes in near_names()) {
            if let Ok(name) = Name::parse(&bytes) {
                let written = postcard::to_allocvec(&name).unwrap();
                prop_assert_eq!(postcard::from_bytes::<Name>(&written).unwrap(), name);
            }
        }

        #[test]
        fn different_names_are_shown_differently(a in near_names(), b in near_names()) {
            if let (Ok(a), Ok(b)) = (Name::parse(&a), Name::parse(&b)) {
                prop_assert_eq!(a == b, a.to_string() == b.to_string());
                prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
            }
        }
    }

    #[test]
    fn a_format_that_lists_bytes_is_read_and_bounded() {
        use serde::de::value::{Error, SeqDeserializer};
        let parse = |bytes: Vec<u8>| {
            Name::deserialize(SeqDeserializer::<_, Error>::new(bytes.into_iter())).ok()
        };
        assert_eq!(parse(vec![b'a'; 255]), Name::parse(&[b'a'; 255]).ok());
        assert_eq!(parse(vec![b'a'; 256]), None);
        assert_eq!(parse(vec![b'a'; 100_000]), None);
    }
}
