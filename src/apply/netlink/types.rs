//! The types of keys and data: their lengths for the kernel, and user data from which `nft list` reads their meaning.
//!
//! The kernel knows only lengths. nft keeps the types in the set's user data, as type-length-value entries with numbers of
//! `libnftnl/udata.h` and of nft's own `include/datatype.h`, `include/expression.h` and `include/proto.h`. This module writes what
//! nft 1.1.3 writes.

use super::abi::{CT_ORIGINAL, NFT_CT_PROTO_DST, NFT_META_L4PROTO, NFT_META_PRIORITY, NFT_NG_RANDOM};
use crate::dataplane::{Family, Field, SetDefinition};
use crate::netlink::text;

/// `enum datatypes` of nft.
const TYPE_INTEGER: u32 = 4;
const TYPE_IPADDR: u32 = 7;
const TYPE_IP6ADDR: u32 = 8;
const TYPE_INET_PROTOCOL: u32 = 12;
const TYPE_INET_SERVICE: u32 = 13;
const TYPE_CLASSID: u32 = 23;
/// Width of a type's number in the number of a concatenation.
const TYPE_BITS: u32 = 6;

/// `enum byteorder` of nft; concatenations have none.
const BYTEORDER_INVALID: u32 = 0;
const BYTEORDER_HOST_ENDIAN: u32 = 1;
const BYTEORDER_BIG_ENDIAN: u32 = 2;

/// `enum expr_types` of nft.
const EXPR_VERDICT: u32 = 1;
const EXPR_PAYLOAD: u32 = 7;
const EXPR_META: u32 = 9;
const EXPR_CT: u32 = 12;
const EXPR_CONCAT: u32 = 13;
const EXPR_NUMGEN: u32 = 23;

/// `enum proto_desc_id` of nft, and the numbers of header fields in these protocols.
const PROTO_DESC_TH: u32 = 11;
const PROTO_DESC_IP: u32 = 12;
const PROTO_DESC_IP6: u32 = 13;
const THDR_DPORT: u32 = 2;
const IPHDR_SADDR: u32 = 11;
const IPHDR_DADDR: u32 = 12;
const IP6HDR_SADDR: u32 = 8;
const IP6HDR_DADDR: u32 = 9;

/// `enum nftnl_udata_set_types`.
const UDATA_SET_KEYBYTEORDER: u8 = 0;
const UDATA_SET_DATABYTEORDER: u8 = 1;
const UDATA_SET_KEY_TYPEOF: u8 = 3;
const UDATA_SET_DATA_TYPEOF: u8 = 4;
const UDATA_SET_DATA_INTERVAL: u8 = 6;
/// `enum nftnl_udata_set_typeof_types`.
const UDATA_TYPEOF_EXPR: u8 = 0;
const UDATA_TYPEOF_DATA: u8 = 1;
/// Comments: `enum nftnl_udata_rule_types` and `enum nftnl_udata_set_elem_types`.
const UDATA_COMMENT: u8 = 0;
/// `enum nftnl_udata_set_elem_types`.
const UDATA_SET_ELEM_FLAGS: u8 = 1;
/// `enum nftnl_udata_set_elem_flags`: a range that ends with the address space.
const SET_ELEM_F_INTERVAL_OPEN: u32 = 1;

/// The type of a key or of data, for the kernel and for nft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataType {
    /// nft's number for the type.
    pub number: u32,
    /// Its length in bytes.
    pub length: usize,
}

impl DataType {
    /// The type of a concatenation of these fields, each padded to 4 bytes; or of a single field.
    pub fn of_fields(family: Family, fields: &[Field]) -> Self {
        match fields {
            [single] => type_of(family, *single),
            _ => fields.iter().fold(Self { number: 0, length: 0 }, |whole, field| {
                let part = type_of(family, *field);
                Self {
                    number: whole.number << TYPE_BITS | part.number,
                    length: whole.length + part.length.next_multiple_of(4),
                }
            }),
        }
    }
}

/// The type of one field.
pub(super) fn type_of(family: Family, field: Field) -> DataType {
    let (number, length) = match (field, family) {
        (Field::Saddr | Field::Daddr, Family::Ip) => (TYPE_IPADDR, 4),
        (Field::Saddr | Field::Daddr, Family::Ip6) => (TYPE_IP6ADDR, 16),
        (Field::L4Proto, _) => (TYPE_INET_PROTOCOL, 1),
        (Field::Dport | Field::OriginalDport, _) => (TYPE_INET_SERVICE, 2),
        (Field::Slot, _) => (TYPE_INTEGER, 4),
        (Field::Id, _) => (TYPE_CLASSID, 4),
    };
    DataType { number, length }
}

/// The user data of a set.
pub(super) fn set_userdata(family: Family, definition: &SetDefinition) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, UDATA_SET_KEYBYTEORDER, byteorder(definition.key));
    if definition.is_map() {
        put_u32(&mut out, UDATA_SET_DATABYTEORDER, byteorder(definition.data));
    }
    put(&mut out, UDATA_SET_KEY_TYPEOF, &typeof_fields(family, definition.key));
    if definition.is_map() {
        let data = match definition.verdict {
            true => typeof_expression(EXPR_VERDICT, &[]),
            false => typeof_fields(family, definition.data),
        };
        put(&mut out, UDATA_SET_DATA_TYPEOF, &data);
        put_u32(&mut out, UDATA_SET_DATA_INTERVAL, 0);
    }
    out
}

/// Whether a set's user data gives its key and data the types of this definition.
pub(super) fn same_types(found: &[u8], family: Family, definition: &SetDefinition) -> bool {
    let wanted = set_userdata(family, definition);
    [UDATA_SET_KEY_TYPEOF, UDATA_SET_DATA_TYPEOF].into_iter().all(|kind| find(found, kind) == find(&wanted, kind))
}

/// Writes user data with a comment.
pub(super) fn put_comment(out: &mut Vec<u8>, comment: &str) {
    // The length, which counts a final zero, is one byte.
    let cut = (0..=comment.len().min(254)).rev().find(|n| comment.is_char_boundary(*n)).unwrap_or(0);
    let length = u8::try_from(cut + 1).unwrap_or(u8::MAX);
    out.extend_from_slice(&[UDATA_COMMENT, length]);
    out.extend_from_slice(&comment.as_bytes()[..cut]);
    out.push(0);
}

/// Writes user data for an element whose range ends with the address space.
pub(super) fn put_open_interval(out: &mut Vec<u8>) {
    put_u32(out, UDATA_SET_ELEM_FLAGS, SET_ELEM_F_INTERVAL_OPEN);
}

/// The comment in the user data of a rule or element.
pub(super) fn comment(userdata: &[u8]) -> Option<&str> {
    text(find(userdata, UDATA_COMMENT)?)
}

fn byteorder(fields: &[Field]) -> u32 {
    match fields {
        [Field::Slot | Field::L4Proto | Field::Id] => BYTEORDER_HOST_ENDIAN,
        [_] => BYTEORDER_BIG_ENDIAN,
        _ => BYTEORDER_INVALID,
    }
}

/// The `typeof` of fields: an expression of the type, or a concatenation of several.
fn typeof_fields(family: Family, fields: &[Field]) -> Vec<u8> {
    match fields {
        [single] => typeof_field(family, *single),
        _ => {
            let mut parts = Vec::new();
            for (field, n) in fields.iter().zip(0..) {
                put(&mut parts, n, &typeof_field(family, *field));
            }
            typeof_expression(EXPR_CONCAT, &parts)
        }
    }
}

/// An expression with the field's type.
fn typeof_field(family: Family, field: Field) -> Vec<u8> {
    let payload = |header, field| typeof_expression(EXPR_PAYLOAD, &numbers(&[header, field]));
    let ct = |key| typeof_expression(EXPR_CT, &numbers(&[key, u32::from(CT_ORIGINAL)]));
    match (field, family) {
        (Field::Saddr, Family::Ip) => payload(PROTO_DESC_IP, IPHDR_SADDR),
        (Field::Daddr, Family::Ip) => payload(PROTO_DESC_IP, IPHDR_DADDR),
        (Field::Saddr, Family::Ip6) => payload(PROTO_DESC_IP6, IP6HDR_SADDR),
        (Field::Daddr, Family::Ip6) => payload(PROTO_DESC_IP6, IP6HDR_DADDR),
        (Field::Dport, _) => payload(PROTO_DESC_TH, THDR_DPORT),
        (Field::L4Proto, _) => typeof_expression(EXPR_META, &numbers(&[NFT_META_L4PROTO])),
        (Field::OriginalDport, _) => ct(NFT_CT_PROTO_DST),
        (Field::Id, _) => typeof_expression(EXPR_META, &numbers(&[NFT_META_PRIORITY])),
        // The slots of every size class are integers: 2 stands for all classes.
        (Field::Slot, _) => typeof_expression(EXPR_NUMGEN, &numbers(&[NFT_NG_RANDOM, 2, 0])),
    }
}

fn typeof_expression(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_u32(&mut out, UDATA_TYPEOF_EXPR, kind);
    put(&mut out, UDATA_TYPEOF_DATA, data);
    out
}

/// Entries that are numbered from 0.
fn numbers(values: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    for (value, n) in values.iter().zip(0..) {
        put_u32(&mut out, n, *value);
    }
    out
}

fn put_u32(out: &mut Vec<u8>, kind: u8, value: u32) {
    put(out, kind, &value.to_ne_bytes());
}

fn put(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    // The length has one byte; five fields of a key take about 150 bytes.
    out.extend_from_slice(&[kind, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(value);
}

/// The entry of this kind.
fn find(mut userdata: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        let [found, length, rest @ ..] = userdata else { return None };
        let length = usize::from(*length);
        let value = rest.get(..length)?;
        if *found == kind {
            return Some(value);
        }
        userdata = rest.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{EndpointList, SetName};

    #[test]
    fn a_concatenation_has_the_number_that_nft_gives_it() {
        let endpoints = SetName::Endpoints(EndpointList::Any).definition();
        assert_eq!(DataType::of_fields(Family::Ip, endpoints.key), DataType { number: 0x1c_c344, length: 16 });
        assert_eq!(DataType::of_fields(Family::Ip6, endpoints.key), DataType { number: 0x20_c344, length: 28 });
        assert_eq!(DataType::of_fields(Family::Ip, endpoints.data), DataType { number: 0x1cd, length: 8 });
        assert_eq!(
            DataType::of_fields(Family::Ip6, SetName::ClusterIps.definition().key),
            DataType { number: 8, length: 16 }
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_user_data_of_a_key_is_the_one_of_nft() {
        let mut bytes = String::new();
        for byte in set_userdata(Family::Ip, &SetName::External.definition()) {
            bytes.push_str(&format!("{byte:02x}"));
        }
        assert_eq!(
            bytes,
            "0004000000000344\
             00040d000000013c\
             0014000407000000010c00040c00000001040c000000\
             010e0004090000000106000410000000\
             0214000407000000010c00040b000000010402000000"
        );
    }

    #[test]
    fn a_comment_is_read_back_and_user_data_without_one_has_none() {
        let mut userdata = Vec::new();
        put_open_interval(&mut userdata);
        assert_eq!(comment(&userdata), None);
        put_comment(&mut userdata, "default/web:http");
        assert_eq!(comment(&userdata), Some("default/web:http"));
        assert_eq!(comment(&userdata[..userdata.len() - 2]), None, "cut off");
        assert_eq!(comment(&[]), None);
        let long = "x".repeat(400);
        let mut userdata = Vec::new();
        put_comment(&mut userdata, &long);
        assert_eq!(comment(&userdata), Some(&long[..254]));
    }
}
