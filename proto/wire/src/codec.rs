//! Total, bounded binary encoding: LEB128 integers, length-prefixed bytes, one format byte in front of each document.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::limits;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ended inside a value.
    #[error("the input ends inside a value")]
    UnexpectedEnd,
    /// An integer does not fit its type.
    #[error("an integer is out of range for {0}")]
    IntegerRange(&'static str),
    /// A length or count passes its limit.
    #[error("{what} has length {len}, above the limit of {limit}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// The claimed length.
        len: u64,
        /// The highest length accepted.
        limit: u64,
    },
    /// An enumeration tag that this version does not know.
    #[error("unknown tag {tag} for {what}")]
    UnknownTag {
        /// The enumeration.
        what: &'static str,
        /// The tag that was read.
        tag: u64,
    },
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A value breaks a rule of its type.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// Bytes are left over after the document.
    #[error("{0} bytes are left over after the document")]
    TrailingBytes(usize),
    /// The document has a format version that this build cannot read.
    #[error("format version {found} of {what} is not readable by this build (it reads {known})")]
    UnknownFormat {
        /// The kind of document.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The newest version known.
        known: u8,
    },
}

/// A value with a binary form.
pub trait Wire: Sized {
    /// Appends the value.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads one value.
    ///
    /// # Errors
    /// Any malformed input; never panics.
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error>;
}

/// A top-level value: sent in a frame or stored under a key, with a format version of its own.
pub trait Document: Wire {
    /// The name used in errors.
    const NAME: &'static str;
    /// The version that this build writes.
    const FORMAT: u8;

    /// Decodes the content of a document of an earlier format, of which this build reads some; nothing of the others.
    ///
    /// # Errors
    /// As for [`Wire::decode`].
    fn decode_earlier(format: u8, input: &mut Reader<'_>) -> Result<Option<Self>, Error> {
        let _reads_none = (format, input);
        Ok(None)
    }

    /// Encodes the document with its format byte in front.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(Self::FORMAT);
        self.encode(&mut out);
        out
    }

    /// Decodes a whole document.
    ///
    /// # Errors
    /// An unknown format, malformed content or left-over bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut input = Reader::new(bytes);
        let found = input.u8()?;
        let value = if found == Self::FORMAT {
            Some(Self::decode(&mut input)?)
        } else {
            Self::decode_earlier(found, &mut input)?
        };
        let unknown = Error::UnknownFormat { what: Self::NAME, found, known: Self::FORMAT };
        let value = value.ok_or(unknown)?;
        input.finish()?;
        Ok(value)
    }
}

/// A cursor over bytes to decode.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The number of bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn u8(&mut self) -> Result<u8, Error> {
        let (&first, rest) = self.rest.split_first().ok_or(Error::UnexpectedEnd)?;
        self.rest = rest;
        Ok(first)
    }

    /// Reads `len` raw bytes without copying.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Error> {
        if len > self.rest.len() {
            return Err(Error::UnexpectedEnd);
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    /// Reads a LEB128 integer.
    ///
    /// # Errors
    /// End of input, or more than 64 bits.
    pub fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Error::IntegerRange("u64"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::IntegerRange("u64"))
    }

    /// Reads a length and checks it against `limit` and against what is left.
    ///
    /// # Errors
    /// A length above the limit, or past the end of the input.
    pub fn length(&mut self, what: &'static str, limit: usize) -> Result<usize, Error> {
        let len = self.varint()?;
        let checked = usize::try_from(len).ok().filter(|len| *len <= limit);
        let Some(checked) = checked else {
            return Err(Error::TooLong { what, len, limit: limit as u64 });
        };
        if checked > self.rest.len() {
            return Err(Error::UnexpectedEnd);
        }
        Ok(checked)
    }

    /// Asserts that everything was read.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`].
    pub const fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::TrailingBytes(self.rest.len())) }
    }
}

/// Appends a LEB128 integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends a length-prefixed byte string.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps a signed integer to an unsigned one with small absolute values first.
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

impl Wire for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, *self);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        input.varint()
    }
}

impl Wire for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(*self));
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        Self::try_from(input.varint()?).map_err(|_| Error::IntegerRange("u32"))
    }
}

impl Wire for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        input.u8()
    }
}

impl Wire for i32 {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, zigzag(i64::from(*self)));
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        Self::try_from(unzigzag(input.varint()?)).map_err(|_| Error::IntegerRange("i32"))
    }
}

impl Wire for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        match input.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(Error::UnknownTag { what: "bool", tag: u64::from(tag) }),
        }
    }
}

impl Wire for String {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let len = input.length("a string", limits::STRING_LEN_MAX)?;
        core::str::from_utf8(input.raw(len)?).map(Self::from).map_err(|_| Error::NotUtf8)
    }
}

/// A byte string; kept apart from `Vec<u8>` as a list so that it is read in one piece.
impl Wire for Box<[u8]> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let len = input.length("a byte string", limits::FRAME_LEN_MAX)?;
        Ok(Self::from(input.raw(len)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        if bool::decode(input)? { T::decode(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        for value in self {
            value.encode(out);
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        // Every element takes a byte or more, so `length` bounds the count by the input itself; the first allocation
        // is capped as well, since elements are larger in memory than on the wire.
        let len = input.length("a list", limits::LIST_LEN_MAX)?;
        let mut values = Self::with_capacity(len.min(1024));
        for _ in 0..len {
            values.push(T::decode(input)?);
        }
        Ok(values)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

/// Implements [`Wire`] for a struct, field by field in the order given.
#[macro_export]
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Wire for $name {
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                $( $crate::codec::Wire::encode(&self.$field, out); )*
            }
            fn decode(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::Error> {
                Ok(Self { $( $field: $crate::codec::Wire::decode(input)?, )* })
            }
        }
    };
}

/// Implements [`Wire`] for an enumeration with explicit, never re-used tags.
#[macro_export]
macro_rules! wire_enum {
    ($name:ident { $( $tag:literal => $variant:ident $( ( $inner:ident ) )? $( { $($field:ident),* $(,)? } )? ),* $(,)? }) => {
        impl $crate::codec::Wire for $name {
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                match self {
                    $( Self::$variant $( ( $inner ) )? $( { $($field),* } )? => {
                        out.push($tag);
                        $( $crate::codec::Wire::encode($inner, out); )?
                        $( $( $crate::codec::Wire::encode($field, out); )* )?
                    } )*
                }
            }
            fn decode(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::Error> {
                match input.u8()? {
                    $( $tag => Ok(Self::$variant
                        $( ( { let $inner = $crate::codec::Wire::decode(input)?; $inner } ) )?
                        $( { $($field: $crate::codec::Wire::decode(input)?),* } )?
                    ), )*
                    tag => Err($crate::codec::Error::UnknownTag { what: stringify!($name), tag: u64::from(tag) }),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip_at_their_edges() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out).varint(), Ok(value));
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn malformed_input_is_an_error() {
        let overlong = [0xff; 11];
        assert_eq!(Reader::new(&overlong).varint(), Err(Error::IntegerRange("u64")));
        assert_eq!(Reader::new(&[]).varint(), Err(Error::UnexpectedEnd));
        assert_eq!(u32::decode(&mut Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x7f])), Err(Error::IntegerRange("u32")));
        assert_eq!(bool::decode(&mut Reader::new(&[2])), Err(Error::UnknownTag { what: "bool", tag: 2 }));
        assert_eq!(String::decode(&mut Reader::new(&[1, 0xff])), Err(Error::NotUtf8));
    }

    #[test]
    fn a_claimed_length_is_checked_before_allocating() {
        let mut claim = Vec::new();
        put_varint(&mut claim, u64::MAX);
        assert!(matches!(Vec::<u64>::decode(&mut Reader::new(&claim)), Err(Error::TooLong { .. })));
        let mut claim = Vec::new();
        put_varint(&mut claim, 1000);
        assert_eq!(Vec::<u64>::decode(&mut Reader::new(&claim)), Err(Error::UnexpectedEnd));
        assert_eq!(Box::<[u8]>::decode(&mut Reader::new(&[5, 1, 2])), Err(Error::UnexpectedEnd));
    }
}
