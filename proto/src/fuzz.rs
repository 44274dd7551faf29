//! What must hold of any bytes at all: the targets of the fuzzer, as plain functions.
//!
//! Law: they panic only if a promise is broken.

use bytes::Bytes;
use prost::Message as _;

use crate::lane::{LaneAnswer, LaneAsk};
use crate::{convert, v1};

/// Any bytes are refused, or are a message that says the same after a trip over the wire.
pub fn wire_frame(bytes: &[u8]) {
    if let Ok(message) = convert::decode(Bytes::copy_from_slice(bytes)) {
        let again = convert::decode(convert::encode(&message));
        assert_eq!(again.as_ref(), Ok(&message), "a message lost its meaning");
    }
}

/// The same for asks and replies of a lane.
pub fn wire_lane(bytes: &[u8]) {
    if let Ok(Ok(ask)) = v1::LaneRequest::decode(bytes).map(LaneAsk::try_from) {
        let again = LaneAsk::try_from(v1::LaneRequest::from(ask));
        assert_eq!(again.as_ref(), Ok(&ask), "an ask lost its meaning");
    }
    if let Ok(Ok(answer)) = v1::LaneReply::decode(bytes).map(LaneAnswer::try_from) {
        let again = LaneAnswer::try_from(v1::LaneReply::from(answer.clone()));
        assert_eq!(again.as_ref(), Ok(&answer), "an answer lost its meaning");
    }
}
