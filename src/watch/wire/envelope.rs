//! What the API server wraps objects in: events of a watch, pages of a list, and the statuses of refusals, in both encodings.
//!
//! ```text
//! JSON      {"type":"ADDED","object":{…}}\n          {"metadata":{…},"items":[{…},…]}
//! protobuf  length, then {1: type, 2: {1: object}}   object, whose raw is {1: metadata, 2: item, 2: item, …}
//!           object = "k8s\0", then {1: kind and version, 2: raw}
//! ```
//!
//! The items of a list in protobuf stand there without such a beginning of their own.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::protobuf::{FieldReader, Malformed, ProtobufFields, ProtobufValue};
use super::{LooseObject, MetadataFields, PartialObjectMetadata, Scalar};

/// What an object in protobuf begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// An object as it was received, not read yet.
#[derive(Clone, Copy, Debug)]
pub enum RawObject<'a> {
    /// JSON.
    Json(&'a str),
    /// A protobuf message, without what it begins with.
    Protobuf(&'a [u8]),
}

/// An event of a watch.
#[derive(Clone, Copy, Debug)]
pub struct WatchEvent<'a> {
    /// What happened.
    pub kind: WatchEventKind,
    /// To which object.
    pub object: RawObject<'a>,
}

/// The `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEventKind {
    /// The object was added, or is part of the list that the watch begins with.
    Added,
    /// The object was changed.
    Modified,
    /// The object is gone.
    Deleted,
    /// The object says only from which version the watch can be resumed.
    Bookmark,
    /// The object is a Status.
    Error,
}

/// A page of a list, or all of it.
#[derive(Clone, Debug)]
pub struct ListPage<'a> {
    /// The version of the list, from which a watch can go on.
    pub version: Option<String>,
    /// What the next page is asked for with, if there is one.
    pub continue_token: Option<String>,
    /// The objects.
    pub items: Vec<RawObject<'a>>,
}

/// What the server says about a request that it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerStatus {
    /// The HTTP status.
    pub code: u16,
    /// Why, in a word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
}

/// An answer cannot be read. What is in it is lost.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It is not JSON, or not what was asked for.
    #[error("unreadable JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON that is no text.
    #[error("unreadable JSON: {0}")]
    Text(#[from] std::str::Utf8Error),
    /// It is no protobuf.
    #[error("{0}")]
    Protobuf(#[from] Malformed),
    /// The type of an event.
    #[error("unknown type {0:?} of a watch event")]
    EventType(String),
}

impl Encoding {
    /// The encoding of an answer with this `Content-Type`. A server that says nothing sends JSON.
    pub fn from_content_type(content_type: &str) -> Self {
        if content_type.trim_start().starts_with("application/vnd.kubernetes.protobuf") {
            Self::Protobuf
        } else {
            Self::Json
        }
    }
}

impl<'a> RawObject<'a> {
    /// The object of an event or an answer.
    fn from_protobuf(bytes: &'a [u8]) -> Result<Self, Malformed> {
        raw(bytes).map(Self::Protobuf)
    }

    /// The metadata alone, or what can be read of it.
    pub fn metadata(self) -> MetadataFields {
        let object = match self {
            Self::Json(json) => serde_json::from_str::<PartialObjectMetadata>(json).ok(),
            Self::Protobuf(bytes) => {
                // As far as the bytes can be read: the metadata come first.
                let (mut object, mut fields) = (PartialObjectMetadata::default(), FieldReader::new(bytes));
                while let Ok(Some((number, value))) = fields.next_field() {
                    if object.take(number, value).is_err() {
                        break;
                    }
                }
                Some(object)
            }
        };
        object.unwrap_or_default().metadata.or_default()
    }

    /// The object, read as a Status.
    pub fn status(self) -> AnswerStatus {
        let fields: StatusFields = match self {
            Self::Json(json) => serde_json::from_str(json).unwrap_or_default(),
            Self::Protobuf(bytes) => StatusFields::from_protobuf(bytes).unwrap_or_default(),
        };
        fields.into()
    }
}

impl<'a> WatchEvent<'a> {
    /// Reads a line, or a frame without its length.
    ///
    /// # Errors
    /// If it is no event. An object inside that cannot be read is no error here.
    pub fn read(encoding: Encoding, frame: &'a [u8]) -> Result<Self, Unreadable> {
        match encoding {
            Encoding::Json => {
                let text = std::str::from_utf8(frame)?;
                let event: JsonEvent<'_> = serde_json::from_str(text)?;
                Ok(Self { kind: WatchEventKind::from_name(&event.kind)?, object: RawObject::Json(event.object.get()) })
            }
            Encoding::Protobuf => {
                let (mut kind, mut object) = ([].as_slice(), [].as_slice());
                let mut fields = FieldReader::new(frame);
                while let Some((number, value)) = fields.next_field()? {
                    match (number, value) {
                        (1, ProtobufValue::Bytes(bytes)) => kind = bytes,
                        (2, ProtobufValue::Bytes(bytes)) => object = last_bytes(bytes, 1)?.unwrap_or_default(),
                        _ => {}
                    }
                }
                let kind = WatchEventKind::from_name(&String::from_utf8_lossy(kind))?;
                Ok(Self { kind, object: RawObject::from_protobuf(object)? })
            }
        }
    }
}

impl WatchEventKind {
    fn from_name(name: &str) -> Result<Self, Unreadable> {
        Ok(match name {
            "ADDED" => Self::Added,
            "MODIFIED" => Self::Modified,
            "DELETED" => Self::Deleted,
            "BOOKMARK" => Self::Bookmark,
            "ERROR" => Self::Error,
            other => return Err(Unreadable::EventType(other.chars().take(32).collect())),
        })
    }
}

impl<'a> ListPage<'a> {
    /// Reads the whole answer to a list.
    ///
    /// # Errors
    /// If it is no list. Items that cannot be read are no error here.
    pub fn read(encoding: Encoding, answer: &'a [u8]) -> Result<Self, Unreadable> {
        let (metadata, items) = match encoding {
            Encoding::Json => {
                let list: JsonList<'_> = serde_json::from_str(std::str::from_utf8(answer)?)?;
                let items = list.items.unwrap_or_default();
                (list.metadata.or_default(), items.into_iter().map(|item| RawObject::Json(item.get())).collect())
            }
            Encoding::Protobuf => {
                let mut fields = FieldReader::new(raw(answer)?);
                let (mut metadata, mut items) = (ListMetadata::default(), Vec::new());
                while let Some((number, value)) = fields.next_field()? {
                    match (number, value) {
                        (1, ProtobufValue::Bytes(bytes)) => metadata = ListMetadata::from_protobuf(bytes)?,
                        (2, ProtobufValue::Bytes(bytes)) => items.push(RawObject::Protobuf(bytes)),
                        _ => {}
                    }
                }
                (metadata, items)
            }
        };
        let given = |found: Scalar| found.non_empty().map(str::to_owned);
        Ok(Self { version: given(metadata.resource_version), continue_token: given(metadata.continue_token), items })
    }
}

impl AnswerStatus {
    /// Reads the body of a refusal, which a proxy on the way may have written in its own words.
    pub fn read(encoding: Encoding, code: u16, answer: &[u8]) -> Self {
        let object = match encoding {
            Encoding::Json => std::str::from_utf8(answer).ok().map(RawObject::Json),
            Encoding::Protobuf => RawObject::from_protobuf(answer).ok(),
        };
        Self { code, ..object.map(RawObject::status).unwrap_or_default() }
    }
}

impl From<StatusFields> for AnswerStatus {
    fn from(fields: StatusFields) -> Self {
        let text = |found: &Scalar| found.text().unwrap_or_default().into_owned();
        let code = match fields.code {
            Scalar::Integer(code) => u16::try_from(code).unwrap_or_default(),
            _ => 0,
        };
        Self { code, reason: text(&fields.reason), message: text(&fields.message) }
    }
}

/// The message inside an object.
fn raw(object: &[u8]) -> Result<&[u8], Malformed> {
    let unknown = object.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
    Ok(last_bytes(unknown, 2)?.unwrap_or_default())
}

/// The last field of this number that holds bytes.
fn last_bytes(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, Malformed> {
    let (mut found, mut fields) = (None, FieldReader::new(message));
    while let Some((number, value)) = fields.next_field()? {
        if let ProtobufValue::Bytes(bytes) = value
            && number == wanted
        {
            found = Some(bytes);
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct JsonEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct JsonList<'a> {
    #[serde(default)]
    metadata: LooseObject<ListMetadata>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// `metadata` of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    resource_version: Scalar,
    #[serde(rename = "continue")]
    continue_token: Scalar,
}

/// The fields that are read of a Status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusFields {
    message: Scalar,
    reason: Scalar,
    code: Scalar,
}

impl ProtobufFields for ListMetadata {
    fn take(&mut self, number: u32, value: ProtobufValue<'_>) -> Result<(), Malformed> {
        match number {
            2 => self.resource_version = value.scalar(),
            3 => self.continue_token = value.scalar(),
            _ => {}
        }
        Ok(())
    }
}

impl ProtobufFields for StatusFields {
    fn take(&mut self, number: u32, value: ProtobufValue<'_>) -> Result<(), Malformed> {
        match number {
            3 => self.message = value.scalar(),
            4 => self.reason = value.scalar(),
            6 => self.code = value.scalar(),
            _ => {}
        }
        Ok(())
    }
}
