//! Reads protobuf leniently: any well-formed value fits every known field, and unknown fields are skipped without being stored.
//!
//! ```text
//! message = field…        field = key value        key = number << 3 | form, as a varint
//! form 0: a varint   1: 8 bytes   2: a length and so many bytes   5: 4 bytes
//! ```
//!
//! Only malformed bytes make a message unreadable, as only malformed syntax does in JSON. A field whose value has another form than
//! the schema's costs only itself. Decoders that are derived from the schema refuse the whole message then, and the functions below
//! them are no stable interface of any crate, so these few lines are our own.

use thiserror::Error;

use super::{LooseList, LooseObject, LooseTime, LooseUid, Scalar};
use crate::state::Uid;

/// The highest number that a field may have.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A length reaches beyond the end, or a number is cut off.
    #[error("malformed protobuf: a field is longer than its message")]
    Length,
    /// A varint does not fit into 64 bits.
    #[error("malformed protobuf: a number has more than 64 bits")]
    Number,
    /// The key of a field says how its value is encoded; this form does not exist, or is one of the groups that no schema here uses.
    #[error("malformed protobuf: a field has the form {0}")]
    Form(u8),
    /// No field has this number.
    #[error("malformed protobuf: a field has the number {0}")]
    FieldNumber(u64),
    /// An object begins with `k8s` and a zero byte.
    #[error("not an object in protobuf: it does not begin with k8s")]
    Magic,
}

/// A field's value, in one of the two shapes that all forms come down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtobufValue<'a> {
    /// A number or a boolean.
    Number(u64),
    /// A string or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
#[derive(Clone, Copy, Debug)]
pub struct FieldReader<'a> {
    rest: &'a [u8],
}

/// A message whose known fields are taken one after the other. A field that comes twice has its last value; a message
/// has what both say.
pub trait ProtobufFields: Default {
    /// Takes a field. An unknown one is left alone.
    ///
    /// # Errors
    /// If the value is a message of known fields, and malformed.
    fn take(&mut self, number: u32, value: ProtobufValue<'_>) -> Result<(), Malformed>;

    /// Makes room for what these fields are.
    fn prepare(&mut self, _fields: FieldReader<'_>) {}

    /// Reads a whole message.
    ///
    /// # Errors
    /// If the bytes are no message.
    fn from_protobuf(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut message = Self::default();
        message.read(bytes)?;
        Ok(message)
    }

    /// Reads a whole message, in addition to what was read before. It is not moved any more, for a message may be large.
    ///
    /// # Errors
    /// If the bytes are no message.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut fields = FieldReader::new(bytes);
        self.prepare(fields);
        while let Some((number, value)) = fields.next_field()? {
            self.take(number, value)?;
        }
        Ok(())
    }
}

impl<'a> FieldReader<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field: its number and its value.
    ///
    /// # Errors
    /// If what follows is no field.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, ProtobufValue<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = match key >> 3 {
            number @ 1..=MAX_FIELD_NUMBER => number as u32,
            number => return Err(Malformed::FieldNumber(number)),
        };
        let value = match key & 7 {
            0 => ProtobufValue::Number(self.varint()?),
            1 => ProtobufValue::Number(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Length)?;
                ProtobufValue::Bytes(self.bytes(length)?)
            }
            5 => ProtobufValue::Number(u32::from_le_bytes(self.array()?).into()),
            form => return Err(Malformed::Form(form as u8)),
        };
        Ok(Some((number, value)))
    }

    /// How many of the fields have this number, as far as they can be read.
    pub fn count(mut self, number: u32) -> usize {
        let fields = std::iter::from_fn(|| self.next_field().ok().flatten());
        fields.filter(|(of, _)| *of == number).count()
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Most are that short.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (i, byte) in self.rest.iter().enumerate() {
            let part = u64::from(byte & 0x7f);
            // Of the tenth byte only one bit fits.
            if i == 9 && *byte > 1 {
                return Err(Malformed::Number);
            }
            number |= part << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(number);
            }
        }
        Err(Malformed::Length)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(*array)
    }
}

impl<'a> ProtobufValue<'a> {
    /// The value of a field that may be absent. The server writes such a field where it is empty or zero; in JSON it leaves it out.
    pub fn optional(self) -> Scalar {
        match self {
            Self::Number(0) | Self::Bytes([]) => Scalar::Null,
            value => value.scalar(),
        }
    }

    /// The value of a field that is there, even if it is empty or zero.
    #[inline]
    pub fn scalar(self) -> Scalar {
        match self {
            // Negative numbers are the upper half.
            Self::Number(number) => Scalar::Integer(number.cast_signed()),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Scalar::Text(text.into()),
                Err(_) => Scalar::Compound("bytes that are no text"),
            },
        }
    }

    /// The value of a boolean.
    pub fn flag(self) -> Scalar {
        match self {
            Self::Number(number) => Scalar::Bool(number != 0),
            value => value.scalar(),
        }
    }

    /// A UID.
    pub fn uid(self) -> LooseUid {
        match self {
            Self::Bytes([]) => LooseUid(None),
            Self::Bytes(bytes) => LooseUid(std::str::from_utf8(bytes).ok().and_then(Uid::new)),
            Self::Number(_) => LooseUid(None),
        }
    }

    /// Reads a message of known fields. What is there already stays, as the protobuf specification merges messages that come twice.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn read_object<T: ProtobufFields>(self, object: &mut LooseObject<T>) -> Result<(), Malformed> {
        match (self, &mut *object) {
            (Self::Bytes(bytes), LooseObject::Fields(fields)) => fields.read(bytes)?,
            (Self::Bytes(bytes), LooseObject::Wrong(_)) => *object = LooseObject::Fields(T::from_protobuf(bytes)?),
            (value, _) => *object = LooseObject::Wrong(value.scalar()),
        }
        Ok(())
    }

    /// A time: seconds since 1970, or an empty message for none.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn time(self) -> Result<LooseTime, Malformed> {
        let Self::Bytes(bytes) = self else { return Ok(LooseTime::Wrong) };
        let (mut fields, mut time) = (FieldReader::new(bytes), LooseTime::Null);
        while let Some((number, value)) = fields.next_field()? {
            if let (1, ProtobufValue::Number(seconds)) = (number, value) {
                time = jiff::Timestamp::from_second(seconds.cast_signed()).map_or(LooseTime::Wrong, LooseTime::At);
            }
        }
        Ok(time)
    }

    /// An entry of a map: its key and its value. `None` for a value that is no message.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn entry(self) -> Result<Option<(&'a [u8], ProtobufValue<'a>)>, Malformed> {
        let Self::Bytes(bytes) = self else { return Ok(None) };
        let (mut fields, mut key, mut found) = (FieldReader::new(bytes), [].as_slice(), ProtobufValue::Bytes(&[]));
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (1, ProtobufValue::Bytes(bytes)) => key = bytes,
                (2, value) => found = value,
                _ => {}
            }
        }
        Ok(Some((key, found)))
    }
}

// Only JSON has anything else in place of a list.
impl<T> LooseList<T> {
    /// Adds an element of a repeated field.
    pub fn push(&mut self, item: T) {
        if let Self::List(items) = self {
            items.push(item);
        }
    }

    /// Makes room for so many more elements.
    pub fn reserve(&mut self, count: usize) {
        if let Self::List(items) = self {
            items.reserve_exact(count);
        }
    }
}

impl<T: ProtobufFields> LooseList<LooseObject<T>> {
    /// Adds a message of a repeated field.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn push_object(&mut self, value: ProtobufValue<'_>) -> Result<(), Malformed> {
        self.push(LooseObject::default());
        let Self::List(items) = self else { return Ok(()) };
        items.last_mut().map_or(Ok(()), |item| value.read_object(item))
    }
}

#[cfg(test)]
mod tests;
