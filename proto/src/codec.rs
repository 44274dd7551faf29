//! The codec of the service: prost's encoding, with errors that can be told from the network's.
//!
//! Law: a message that does not decode ends its stream with a status whose source is a
//! [`WireError`]; nothing that the network does, or that the peer says in a status, has one.

use std::error::Error as _;
use std::fmt;
use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use crate::error::WireError;

/// Encodes `T`, decodes `U`.
pub struct WireCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for WireCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> fmt::Debug for WireCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireCodec")
    }
}

impl<T, U> Codec for WireCodec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = WireEncoder<T>;
    type Decoder = WireDecoder<U>;

    fn encoder(&mut self) -> WireEncoder<T> {
        WireEncoder(PhantomData)
    }

    fn decoder(&mut self) -> WireDecoder<U> {
        WireDecoder(PhantomData)
    }
}

/// Encodes messages.
pub struct WireEncoder<T>(PhantomData<T>);

impl<T> fmt::Debug for WireEncoder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireEncoder")
    }
}

impl<T: Message> Encoder for WireEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // One allocation for a chunk, and not one for each doubling on the way there.
        buf.reserve(item.encoded_len());
        item.encode(buf)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// Decodes messages.
pub struct WireDecoder<U>(PhantomData<U>);

impl<U> fmt::Debug for WireDecoder<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireDecoder")
    }
}

impl<U: Message + Default> Decoder for WireDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        match U::decode(buf) {
            Ok(message) => Ok(Some(message)),
            Err(error) => Err(Status::from_error(Box::new(WireError::from(error)))),
        }
    }
}

/// Tells whether a stream ended since the peer sent what could not be decoded, or more than a
/// bound allows; else the connection broke, or the peer ended the stream.
pub fn is_garbled(status: &Status) -> bool {
    status
        .source()
        .is_some_and(|source| source.downcast_ref::<WireError>().is_some())
        // tonic's own word for a message over the limit; no peer of ours sends this code.
        || status.code() == Code::OutOfRange
}
