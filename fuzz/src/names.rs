//! Names, targets and names of extended attributes, as any peer may send them.

use tandem_core::tree::name::{Name, TargetPath, XattrName};

/// Parses any bytes as each kind of name. What is accepted must be what the rules say, unchanged,
/// harmless to a terminal, and accepted again when it was stored; what is refused must be
/// refused from the store too.
///
/// # Panics
///
/// When a law does not hold.
pub fn names(bytes: &[u8]) {
    let nul = bytes.contains(&0);
    let folded = bytes.to_ascii_lowercase();
    let reserved = [&b"."[..], b"..", b".tandem"].contains(&&folded[..]);
    let plain = (1..=255).contains(&bytes.len()) && !nul;

    let name = Name::parse(bytes);
    assert_eq!(name.is_ok(), plain && !bytes.contains(&b'/') && !reserved);
    let target = TargetPath::parse(bytes);
    assert_eq!(target.is_ok(), (1..=4095).contains(&bytes.len()) && !nul);
    let xattr = XattrName::parse(bytes);
    let ours = bytes.starts_with(b"user.tandem.");
    assert_eq!(
        xattr.is_ok(),
        plain && bytes.starts_with(b"user.") && bytes.len() > 5 && !ours
    );

    let stored = postcard::to_allocvec(bytes).expect("bytes can be stored");
    assert_eq!(postcard::from_bytes(&stored).ok(), name.clone().ok());
    assert_eq!(postcard::from_bytes(&stored).ok(), target.clone().ok());
    assert_eq!(postcard::from_bytes(&stored).ok(), xattr.clone().ok());

    if let Ok(name) = name {
        assert_eq!(name.as_bytes(), bytes);
        assert!(!name.to_string().chars().any(char::is_control));
        assert_eq!(postcard::to_allocvec(&name), Ok(stored));
    }
    if let Ok(target) = target {
        assert_eq!(target.as_bytes(), bytes);
        assert!(!target.to_string().chars().any(char::is_control));
    }
    if let Ok(xattr) = xattr {
        assert_eq!(xattr.as_bytes(), bytes);
    }
}
