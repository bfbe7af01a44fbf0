//! Encoding operations as a batch of messages.

use super::abi::*;
use super::message::begin_message;
use super::types::{DataType, put_comment, set_userdata};
use super::{elements, rules};
use crate::dataplane::{BaseChain, Element, Family, Hook, Object, Operation, Rule, SetName, Verb};
use crate::netlink::MessageWriter;
use crate::netlink::abi::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE,
    NLM_F_REQUEST,
};

/// Up to this length a list of elements grows: its length has 16 bits, and one more element must fit.
const MAX_LIST_BYTES: usize = 64_000;

/// A batch, ready to be sent.
#[derive(Debug)]
pub(super) struct EncodedBatch {
    /// The messages.
    pub bytes: Vec<u8>,
    /// The sequence number of the first message; the others count on from there.
    pub first: u32,
    /// The operations of each message between begin and end.
    spans: Vec<MessageSpan>,
}

/// The operations of one message.
#[derive(Clone, Copy, Debug)]
struct MessageSpan {
    /// The first operation.
    operation: usize,
    /// Where the message begins in the batch.
    start: usize,
    /// Where its list of elements begins in the batch, if it has one.
    list: Option<usize>,
}

impl EncodedBatch {
    /// Encodes operations on the table `table`, into a buffer that may have been used before.
    ///
    /// # Errors
    ///
    /// The number of the first operation that has no message.
    pub fn encode(operations: &[Operation], table: &str, first: u32, mut buffer: Vec<u8>) -> Result<Self, usize> {
        buffer.clear();
        let mut encoder =
            BatchEncoder { out: MessageWriter { bytes: buffer }, table, sequence: first, spans: Vec::new(), sets: 0 };
        encoder.batch_delimiter(NFNL_MSG_BATCH_BEGIN);
        let mut done = 0;
        while let Some(operation) = operations.get(done) {
            done = match &operation.object {
                Object::Element(element) if operation.verb != Verb::Flush => {
                    encoder.elements(operations, done, element)
                }
                _ => encoder.single(operation, done).map(|()| done + 1).ok_or(done)?,
            };
        }
        // The kernel answers after the commit. Before 6.10 it does not acknowledge the batch's end, so the last message inside asks.
        if let Some(last) = encoder.spans.last() {
            encoder.out.add_flag(last.start, NLM_F_ACK);
        }
        encoder.batch_delimiter(NFNL_MSG_BATCH_END);
        Ok(Self { bytes: encoder.out.bytes, first, spans: encoder.spans })
    }

    /// The sequence number of the message whose acknowledgement means that the batch is committed.
    pub fn last(&self) -> u32 {
        self.first.wrapping_add(u32::try_from(self.spans.len()).unwrap_or(u32::MAX))
    }

    /// The sequence number after the batch.
    pub fn next(&self) -> u32 {
        self.last().wrapping_add(2)
    }

    /// The number of the operation that a refusal is about. `message` is the number of the message in the batch, whose begin is 0,
    /// and `offset` the byte of the message that the kernel objects to. `None` for the begin and the end.
    pub fn operation(&self, operations: &[Operation], message: u32, offset: Option<u32>) -> Option<usize> {
        let span = self.spans.get(usize::try_from(message.checked_sub(1)?).ok()?)?;
        let (Some(list), Some(offset)) = (span.list, offset) else { return Some(span.operation) };
        let refused = span.start.checked_add(usize::try_from(offset).ok()?)?;
        // Encoding the elements again finds the right one. This happens only after a refusal.
        let (mut at, mut scratch) = (list, MessageWriter::default());
        for (n, operation) in operations.iter().enumerate().skip(span.operation) {
            let Object::Element(element) = &operation.object else { break };
            scratch.bytes.clear();
            elements::put(&mut scratch, element, operation.verb == Verb::Add);
            at += scratch.bytes.len();
            if refused < at {
                return Some(n);
            }
        }
        Some(span.operation)
    }
}

/// Writes the messages of a batch.
struct BatchEncoder<'a> {
    out: MessageWriter,
    table: &'a str,
    sequence: u32,
    spans: Vec<MessageSpan>,
    /// The number of the last set: the kernel wants one for each set that a batch creates.
    sets: u32,
}

impl BatchEncoder<'_> {
    /// Writes the begin or end of the batch.
    fn batch_delimiter(&mut self, kind: u16) {
        let sequence = self.next();
        let message = self.out.begin_message(kind, NLM_F_REQUEST, sequence, 0, NFNL_SUBSYS_NFTABLES);
        self.out.end_message(message);
    }

    fn next(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Writes a message for the operation with this number. In every kind of message the first attribute is the table's name.
    fn message(&mut self, operation: usize, family: Family, kind: u16, flags: u16, contents: impl FnOnce(&mut Self)) {
        let sequence = self.next();
        let message = begin_message(&mut self.out, kind, NLM_F_REQUEST | flags, sequence, family);
        self.spans.push(MessageSpan { operation, start: message.start(), list: None });
        self.out.put_name(NFTA_TABLE_NAME, self.table);
        contents(self);
        self.out.end_message(message);
    }

    /// Writes an operation on any object but an element; `None` if it has no message.
    fn single(&mut self, operation: &Operation, n: usize) -> Option<()> {
        let family = operation.family;
        match (operation.verb, &operation.object) {
            (Verb::Add, Object::Table) => {
                self.message(n, family, NFT_MSG_NEWTABLE, 0, |this| this.out.put_u32(NFTA_TABLE_FLAGS, 0));
            }
            (Verb::Delete, Object::Table) => self.message(n, family, NFT_MSG_DELTABLE, 0, |_| {}),
            (Verb::Add, Object::Chain(name, base)) => {
                self.message(n, family, NFT_MSG_NEWCHAIN, NLM_F_CREATE, |this| this.chain(&name.0, *base));
            }
            (Verb::Delete, Object::Chain(name, _)) => {
                self.message(n, family, NFT_MSG_DELCHAIN, 0, |this| this.out.put_name(NFTA_CHAIN_NAME, &name.0));
            }
            (Verb::Flush, Object::Chain(name, _)) => {
                self.message(n, family, NFT_MSG_DELRULE, 0, |this| this.out.put_name(NFTA_RULE_CHAIN, &name.0));
            }
            (Verb::Add, Object::Rule(chain, rule)) => {
                let flags = NLM_F_CREATE | NLM_F_APPEND;
                self.message(n, family, NFT_MSG_NEWRULE, flags, |this| this.rule(&chain.0, rule));
            }
            (Verb::Add, Object::Set(_) | Object::Clients { .. }) => {
                let (set, capacity) = operation.object.set()?;
                self.message(n, family, NFT_MSG_NEWSET, NLM_F_CREATE, |this| this.set(family, set, capacity));
            }
            (Verb::Delete, Object::Set(_) | Object::Clients { .. }) => {
                let (set, _) = operation.object.set()?;
                self.delete_set(n, family, &set.to_string());
            }
            (Verb::Delete, Object::UnknownSet { name, .. }) => self.delete_set(n, family, name),
            _ => return None,
        }
        Some(())
    }

    fn chain(&mut self, name: &str, base: Option<BaseChain>) {
        self.out.put_name(NFTA_CHAIN_NAME, name);
        let Some(base) = base else { return };
        self.out.put_u32(NFTA_CHAIN_POLICY, NF_ACCEPT);
        self.out.put_name(NFTA_CHAIN_TYPE, base.kind.nft());
        let hook = self.out.begin_nest(NFTA_CHAIN_HOOK);
        self.out.put_u32(NFTA_HOOK_HOOKNUM, hook_number(base.hook));
        self.out.put(NFTA_HOOK_PRIORITY, &base.priority.to_be_bytes());
        self.out.end(hook);
    }

    fn rule(&mut self, chain: &str, rule: &Rule) {
        self.out.put_name(NFTA_RULE_CHAIN, chain);
        let expressions = self.out.begin_nest(NFTA_RULE_EXPRESSIONS);
        rules::put(&mut self.out, rule);
        self.out.end(expressions);
        if let Some(comment) = &rule.comment {
            let userdata = self.out.begin(NFTA_RULE_USERDATA);
            put_comment(&mut self.out.bytes, comment);
            self.out.end(userdata);
        }
    }

    fn set(&mut self, family: Family, set: SetName, capacity: Option<u32>) {
        let definition = set.definition();
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        self.sets += 1;
        self.out.put_name(NFTA_SET_NAME, &set.to_string());
        self.out.put_u32(NFTA_SET_FLAGS, set_flags(set));
        let key = DataType::of_fields(family, definition.key);
        self.out.put_u32(NFTA_SET_KEY_TYPE, key.number);
        self.out.put_u32(NFTA_SET_KEY_LEN, number(key.length));
        if definition.verdict {
            self.out.put_u32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
            self.out.put_u32(NFTA_SET_DATA_LEN, 0);
        } else if definition.is_map() {
            let data = DataType::of_fields(family, definition.data);
            self.out.put_u32(NFTA_SET_DATA_TYPE, data.number);
            self.out.put_u32(NFTA_SET_DATA_LEN, number(data.length));
        }
        if let Some(capacity) = capacity {
            let description = self.out.begin_nest(NFTA_SET_DESC);
            self.out.put_u32(NFTA_SET_DESC_SIZE, capacity);
            self.out.end(description);
        }
        self.out.put_u32(NFTA_SET_ID, self.sets);
        self.out.put(NFTA_SET_USERDATA, &set_userdata(family, &definition));
    }

    fn delete_set(&mut self, n: usize, family: Family, name: &str) {
        self.message(n, family, NFT_MSG_DELSET, 0, |this| this.out.put_name(NFTA_SET_NAME, name));
    }

    /// Writes one message for the operations from `first` on, as far as they are alike, belong to one set and fit. Returns the number
    /// of the operation after them.
    fn elements(&mut self, operations: &[Operation], first: usize, of: &Element) -> usize {
        let Some(operation) = operations.get(first) else { return first };
        let (verb, family) = (operation.verb, operation.family);
        let (kind, flags) = match verb {
            Verb::Add => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
            _ => (NFT_MSG_DELSETELEM, 0),
        };
        let mut done = first;
        self.message(first, family, kind, flags, |this| {
            this.out.put_name(NFTA_SET_ELEM_LIST_SET, &of.set.to_string());
            let list = this.out.begin_nest(NFTA_SET_ELEM_LIST_ELEMENTS);
            let start = this.out.bytes.len();
            if let Some(span) = this.spans.last_mut() {
                span.list = Some(start);
            }
            for operation in operations.get(first..).unwrap_or_default() {
                match &operation.object {
                    Object::Element(element)
                        if element.set == of.set && operation.verb == verb && operation.family == family =>
                    {
                        elements::put(&mut this.out, element, verb == Verb::Add);
                    }
                    _ => break,
                }
                done += 1;
                if this.out.bytes.len() - start > MAX_LIST_BYTES {
                    break;
                }
            }
            this.out.end(list);
        });
        done
    }
}

/// The flags that the kernel keeps for a set.
pub(super) fn set_flags(set: SetName) -> u32 {
    let definition = set.definition();
    let interval = if definition.interval { NFT_SET_INTERVAL } else { 0 };
    let map = if definition.is_map() { NFT_SET_MAP } else { 0 };
    let dynamic = if definition.dynamic { NFT_SET_EVAL } else { 0 };
    let expires = if definition.dynamic && definition.is_map() { NFT_SET_TIMEOUT } else { 0 };
    interval | map | dynamic | expires
}

/// The kernel's number for a hook.
pub(super) fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => NF_INET_PRE_ROUTING,
        Hook::Input => NF_INET_LOCAL_IN,
        Hook::Forward => NF_INET_FORWARD,
        Hook::Output => NF_INET_LOCAL_OUT,
        Hook::Postrouting => NF_INET_POST_ROUTING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Endpoint, EndpointList, Frontend, Protocol};
    use crate::netlink::{Attributes, Messages};

    fn slot(n: u32) -> Element {
        let frontend = Frontend { addr: std::net::Ipv4Addr::from_bits(n).into(), protocol: Protocol::Tcp, port: 80 };
        Element::slot(EndpointList::Any, frontend, 0, Endpoint { addr: [10, 1, 0, 1].into(), port: 8080 })
    }

    fn encode(operations: &[Operation]) -> EncodedBatch {
        EncodedBatch::encode(operations, "pointsman", 100, Vec::new()).expect("operations with messages")
    }

    #[test]
    fn one_endpoint_replaced_is_a_short_batch() {
        let batch = encode(&[Operation::delete_element(slot(1)), Operation::add_element(slot(1))]);
        let messages: Vec<_> = Messages(&batch.bytes).collect();
        let kinds: Vec<u16> = messages.iter().map(|message| message.kind & 0xff).collect();
        assert_eq!(kinds, [NFNL_MSG_BATCH_BEGIN, NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM, NFNL_MSG_BATCH_END]);
        assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [100, 101, 102, 103]);
        let asked: Vec<bool> = messages.iter().map(|message| message.flags & NLM_F_ACK != 0).collect();
        assert_eq!(asked, [false, false, true, false], "only the last one asks for an acknowledgement");
        assert_eq!((batch.last(), batch.next()), (102, 104));
        assert_eq!(batch.bytes.len(), 224);
    }

    #[test]
    fn long_lists_are_split_and_every_element_is_found_by_its_offset() {
        let operations: Vec<Operation> = (0..5_000).map(|n| Operation::add_element(slot(n))).collect();
        let batch = encode(&operations);
        let messages: Vec<_> = Messages(&batch.bytes).collect();
        assert!(messages.len() > 4, "{} messages", messages.len());
        let mut found = Vec::new();
        for (number, message) in messages.iter().enumerate() {
            let Some(list) = message.attributes().find(NFTA_SET_ELEM_LIST_ELEMENTS) else { continue };
            assert!(list.len() < usize::from(u16::MAX));
            // Header, table, set and the header of the list.
            let mut offset = 16 + message.payload.len() - list.len();
            for (_, entry) in Attributes(list) {
                let number = u32::try_from(number).expect("few");
                found.extend(batch.operation(&operations, number, u32::try_from(offset).ok()));
                offset += 4 + entry.len();
            }
        }
        assert_eq!(found, (0..operations.len()).collect::<Vec<_>>());
    }

    #[test]
    fn an_offset_outside_of_all_elements_names_the_first_operation() {
        let operations = [Operation::add(Family::Ip, Object::Table), Operation::add_element(slot(1))];
        let batch = encode(&operations);
        assert_eq!(batch.operation(&operations, 0, None), None, "the begin or end");
        assert_eq!(batch.operation(&operations, 1, Some(0)), Some(0));
        assert_eq!(batch.operation(&operations, 2, None), Some(1));
        assert_eq!(batch.operation(&operations, 2, Some(u32::MAX)), Some(1));
        assert_eq!(batch.operation(&operations, 3, None), None, "the begin or end");
    }

    #[test]
    fn an_operation_without_a_message_is_named() {
        let senseless = Operation { verb: Verb::Flush, ..Operation::add_element(slot(1)) };
        let operations = [Operation::add(Family::Ip, Object::Table), senseless];
        assert_eq!(EncodedBatch::encode(&operations, "pointsman", 1, Vec::new()).err(), Some(1));
    }
}
