//! Encoding rules in the types of the `nftables` crate.

use nftables::expr::{
    BinaryOperation, CT, CTDir, Expression, Fib, FibFlag, FibResult, Map, Meta, MetaKey, NamedExpression, NgMode,
    Numgen, Payload, PayloadField, Prefix,
};
use nftables::stmt::{JumpTarget, Mangle, Match, NAT, NATFamily, NATFlag, Operator, Reject, RejectType, Statement};
use nftables::types::RejectCode;
use serde::Serialize;

use crate::dataplane::{Action, Condition, Expr, Family, Field, Rule, SetName, SizeClass};

/// A statement of a rule.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum RuleStatement {
    /// One that the crate can express.
    Known(Statement<'static>),
    /// A packet changes an element of a map: the crate has this for sets only.
    Map {
        /// The statement.
        map: MapChange,
    },
    /// A packet is counted in a set: the crate writes `null` for what is not given.
    Set {
        /// The statement.
        set: CountInSet,
    },
    /// A verdict map decides.
    Vmap {
        /// The statement.
        vmap: VerdictMap,
    },
}

/// `{"vmap": {…}}`: the crate has this with a map in place only.
#[derive(Serialize)]
pub(super) struct VerdictMap {
    key: Expression<'static>,
    data: String,
}

/// `{"set": {…}}`
#[derive(Serialize)]
pub(super) struct CountInSet {
    op: &'static str,
    elem: Expression<'static>,
    set: String,
    stmt: [CounterJson; 1],
}

/// `{"counter": null}`
#[derive(Serialize)]
struct CounterJson {
    counter: (),
}

/// `{"map": {…}}`
#[derive(Serialize)]
pub(super) struct MapChange {
    op: &'static str,
    elem: ChangedElement,
    data: Expression<'static>,
    map: String,
}

/// The key of an element, with a timeout in seconds or without: the crate's own type writes `null` for each unset member.
#[derive(Serialize)]
#[serde(untagged)]
enum ChangedElement {
    Expiring(Expiring),
    Key(Expression<'static>),
}

#[derive(Serialize)]
struct Expiring {
    elem: ExpiringValue,
}

#[derive(Serialize)]
struct ExpiringValue {
    val: Expression<'static>,
    timeout: u32,
}

/// The statements of a rule.
pub(super) fn rule_statements(rule: &Rule) -> Vec<RuleStatement> {
    let family = rule.family;
    let conditions = rule.conditions.iter().map(|condition| match condition {
        Condition::Remembers(map, seconds) => map_change(family, "update", *map, Some(*seconds)),
        condition => RuleStatement::Known(condition_of(family, condition)),
    });
    let mut all: Vec<RuleStatement> = conditions.collect();
    match &rule.action {
        Action::Forget(map) => all.push(map_change(family, "delete", *map, None)),
        Action::Count(set) => {
            let elem = key(family, &Expr::key_of(*set));
            let set = CountInSet { op: "add", elem, set: format!("@{set}"), stmt: [CounterJson { counter: () }] };
            all.push(RuleStatement::Set { set });
        }
        Action::JumpByMap(expr, map) => {
            let vmap = VerdictMap { key: key(family, expr), data: format!("@{map}") };
            all.push(RuleStatement::Vmap { vmap });
        }
        action => all.extend(statements(family, action).into_iter().map(RuleStatement::Known)),
    }
    all
}

/// The statement with which a packet changes its element of a map.
fn map_change(family: Family, op: &'static str, map: SetName, seconds: Option<u32>) -> RuleStatement {
    let val = key(family, &Expr::key_of(map));
    let elem = match seconds {
        Some(timeout) => ChangedElement::Expiring(Expiring { elem: ExpiringValue { val, timeout } }),
        None => ChangedElement::Key(val),
    };
    let data = key(family, &Expr::data_of(map));
    RuleStatement::Map { map: MapChange { op, elem, data, map: format!("@{map}") } }
}

/// The statements of an action that the crate can express.
fn statements(family: Family, action: &Action) -> Vec<Statement<'static>> {
    let mut statements = Vec::new();
    match action {
        Action::Forget(..) | Action::JumpByMap(..) | Action::Count(..) => {}
        Action::Return => statements.push(Statement::Return(None)),
        Action::Jump(chain) => statements.push(Statement::Jump(JumpTarget { target: chain.0.clone() })),
        Action::Goto(chain) => statements.push(Statement::Goto(JumpTarget { target: chain.0.clone() })),
        Action::Drop => statements.push(Statement::Drop(None)),
        Action::RejectTcpReset => {
            statements.push(Statement::Reject(Some(Reject::new(Some(RejectType::TCPReset), None))));
        }
        Action::Reject => {
            let kind = match family {
                Family::Ip => RejectType::ICMP,
                Family::Ip6 => RejectType::ICMPv6,
            };
            statements.push(Statement::Reject(Some(Reject::new(Some(kind), Some(RejectCode::PortUnreach)))));
        }
        Action::DnatTo(expr, map) => statements.push(Statement::DNAT(Some(NAT {
            addr: Some(Expression::Named(NamedExpression::Map(Box::new(Map {
                key: key(family, expr),
                data: reference(*map),
            })))),
            family: Some(match family {
                Family::Ip => NATFamily::IP,
                Family::Ip6 => NATFamily::IP6,
            }),
            port: None,
            flags: None,
        }))),
        Action::SetMark(bit) => {
            let value = BinaryOperation::OR(vec![mark(), Expression::Number(*bit)]);
            statements.push(set_mark(value));
        }
        Action::ClearMarkAndMasquerade(bit) => {
            let value = BinaryOperation::XOR(mark(), Expression::Number(*bit));
            statements.extend([set_mark(value), masquerade()]);
        }
        Action::Masquerade => statements.push(masquerade()),
    }
    statements
}

fn condition_of(family: Family, condition: &Condition) -> Statement<'static> {
    let is = |left, right| (left, Operator::EQ, right);
    let (left, op, right) = match condition {
        Condition::In(expr, set) => is(key(family, expr), reference(*set)),
        Condition::NotIn(expr, set) => (key(family, expr), Operator::NEQ, reference(*set)),
        Condition::DaddrNotIn(network) => (field(family, Field::Daddr, None), Operator::NEQ, prefix(network)),
        Condition::FibSaddrLocal => is(fib_type(FibFlag::Saddr), text("local")),
        Condition::FibDaddrLocal => is(fib_type(FibFlag::Daddr), text("local")),
        Condition::Iifname(name) => is(iifname(), Expression::String(name.clone().into())),
        Condition::IifnameNot(name) => (iifname(), Operator::NEQ, Expression::String(name.clone().into())),
        Condition::SaddrIn(network) => is(field(family, Field::Saddr, None), prefix(network)),
        Condition::SaddrNotIn(network) => (field(family, Field::Saddr, None), Operator::NEQ, prefix(network)),
        Condition::L4Proto(protocol) => is(field(family, Field::L4Proto, None), text(protocol.nft())),
        Condition::CtStateNew => (ct("state"), Operator::IN, text("new")),
        Condition::CtStatusDnat => (ct("status"), Operator::IN, text("dnat")),
        Condition::CtStatusNoDnat => {
            let masked = BinaryOperation::AND(ct("status"), text("dnat"));
            is(Expression::BinaryOperation(Box::new(masked)), Expression::Number(0))
        }
        Condition::Recalls(expr, map) => {
            let id = Map { key: key(family, expr), data: reference(*map) };
            let value = Expression::Named(NamedExpression::Map(Box::new(id)));
            return Statement::Mangle(Mangle { key: field(family, Field::Id, None), value });
        }
        Condition::ForgetsId => {
            return Statement::Mangle(Mangle { key: field(family, Field::Id, None), value: text("none") });
        }
        Condition::HasId => (field(family, Field::Id, None), Operator::NEQ, text("none")),
        // A statement of its own.
        Condition::Remembers(map, _) => is(field(family, Field::Id, None), reference(*map)),
        Condition::Mark(bit) => {
            let masked = BinaryOperation::AND(mark(), Expression::Number(*bit));
            is(Expression::BinaryOperation(Box::new(masked)), Expression::Number(*bit))
        }
    };
    Statement::Match(Match { left, right, op })
}

/// The key that a rule makes from a packet.
fn key(family: Family, expr: &Expr) -> Expression<'static> {
    concatenation(expr.fields.iter().map(|one| field(family, *one, expr.class)))
}

/// The fields of a set's type.
pub(super) fn field_types(family: Family, fields: &[Field]) -> Expression<'static> {
    concatenation(fields.iter().map(|one| field(family, *one, None)))
}

/// Several fields as a concatenation, or a single field.
fn concatenation(fields: impl Iterator<Item = Expression<'static>>) -> Expression<'static> {
    let mut fields: Vec<_> = fields.collect();
    match fields.pop() {
        Some(single) if fields.is_empty() => single,
        last => {
            fields.extend(last);
            Expression::Named(NamedExpression::Concat(fields))
        }
    }
}

fn field(family: Family, field: Field, class: Option<SizeClass>) -> Expression<'static> {
    let payload = |protocol: &'static str, field: &'static str| {
        NamedExpression::Payload(Payload::PayloadField(PayloadField { protocol: protocol.into(), field: field.into() }))
    };
    Expression::Named(match field {
        Field::Saddr => payload(family.nft(), "saddr"),
        Field::Daddr => payload(family.nft(), "daddr"),
        Field::L4Proto => NamedExpression::Meta(Meta { key: MetaKey::L4proto }),
        Field::Dport => payload("th", "dport"),
        Field::Id => NamedExpression::Meta(Meta { key: MetaKey::Priority }),
        Field::OriginalDport => {
            NamedExpression::CT(CT { key: "proto-dst".into(), family: None, dir: Some(CTDir::Original) })
        }
        // In the type of a set any class will do: 2 stands for an integer.
        Field::Slot => NamedExpression::Numgen(Numgen {
            mode: NgMode::Random,
            ng_mod: class.map_or(2, SizeClass::slots),
            offset: Some(0),
        }),
    })
}

fn reference(set: SetName) -> Expression<'static> {
    Expression::String(format!("@{set}").into())
}

fn text(text: &'static str) -> Expression<'static> {
    Expression::String(text.into())
}

fn prefix(network: &ipnet::IpNet) -> Expression<'static> {
    let addr = Box::new(Expression::String(network.addr().to_string().into()));
    Expression::Named(NamedExpression::Prefix(Prefix { addr, len: network.prefix_len().into() }))
}

fn ct(key: &'static str) -> Expression<'static> {
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None }))
}

fn fib_type(flag: FibFlag) -> Expression<'static> {
    #[expect(clippy::disallowed_types, reason = "the crate's type; with one flag its order is always the same")]
    let flags = std::collections::HashSet::from([flag]);
    Expression::Named(NamedExpression::Fib(Fib { result: FibResult::Type, flags }))
}

fn iifname() -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key: MetaKey::Iifname }))
}

fn mark() -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key: MetaKey::Mark }))
}

fn set_mark(value: BinaryOperation<'static>) -> Statement<'static> {
    Statement::Mangle(Mangle { key: mark(), value: Expression::BinaryOperation(Box::new(value)) })
}

fn masquerade() -> Statement<'static> {
    #[expect(clippy::disallowed_types, reason = "the crate's type; with one flag its order is always the same")]
    let flags = Some(std::collections::HashSet::from([NATFlag::FullyRandom]));
    Statement::Masquerade(Some(NAT { addr: None, family: None, port: None, flags }))
}
