//! What can be wrong with bytes that a peer sent.

use tandem_core::label::LabelError;
use tandem_core::tree::name::NameError;
use tandem_core::tree::runs::RunsError;

/// A message that breaks a rule: which field, and which rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes are no protobuf of the message.
    #[error("not a message: {0}")]
    Encoding(#[from] prost::DecodeError),
    /// A frame, register, body or answer of a kind that this version does not know.
    #[error("{field}: no kind that is known")]
    UnknownKind {
        /// Which field.
        field: &'static str,
    },
    /// A number that stands for nothing in its enumeration.
    #[error("{field}: {value} stands for nothing")]
    UnknownValue {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: i32,
    },
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// A field of bytes of a fixed length has another one.
    #[error("{field} has {len} bytes instead of {want}")]
    Length {
        /// Which field.
        field: &'static str,
        /// How many it has.
        len: usize,
        /// How many it must have.
        want: usize,
    },
    /// Runs of chunks that are none.
    #[error("{field}: {why}")]
    Runs {
        /// Which field.
        field: &'static str,
        /// What is wrong with them.
        why: RunsError,
    },
    /// A number, size or count outside its bounds.
    #[error("{field} is {value}; it may be {min} to {max}")]
    Range {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A size of chunks that is no power of two.
    #[error("{field} is {value}, which is no power of two")]
    PowerOfTwo {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u32,
    },
    /// A list whose items do not ascend, or come twice.
    #[error("{field} does not ascend at item {at}")]
    Order {
        /// Which field.
        field: &'static str,
        /// The first item that is not greater than the one before it.
        at: usize,
    },
    /// Two lists that must have one length have two.
    #[error("{field} has lists of {left} and of {right} items")]
    Uneven {
        /// Which field.
        field: &'static str,
        /// Items of the one.
        left: usize,
        /// Items of the other.
        right: usize,
    },
    /// Bytes that are no name, target or name of an attribute.
    #[error("{field}: {why}")]
    Name {
        /// Which field.
        field: &'static str,
        /// What is wrong with them.
        why: NameError,
    },
    /// A text that is no name of a peer.
    #[error("{field}: {why}")]
    Label {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: LabelError,
    },
}

/// Returns `value` when it is from `min` to `max`.
pub(crate) fn within(
    field: &'static str,
    value: u64,
    min: u64,
    max: u64,
) -> Result<u64, WireError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(WireError::Range {
            field,
            value,
            min,
            max,
        })
    }
}

/// Returns `len` when it is at most `max`.
pub(crate) fn at_most(field: &'static str, len: usize, max: usize) -> Result<usize, WireError> {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    within(field, wide(len), 0, wide(max)).map(|_| len)
}

/// Returns `bytes` as an array.
pub(crate) fn array<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Length {
        field,
        len: bytes.len(),
        want: N,
    })
}

/// Returns what is there.
pub(crate) fn there<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}
