//! Testing that this `nft`, on this kernel, does what it is told.
//!
//! Versions before 1.1.3 take some of this JSON, exit with 0 and do something else (1.0.6 turns a map with several fields of data
//! into a set). So the test checks the version, and then the result.

use std::path::Path;

use serde_json::{Value, json};

use super::rules::{field_types, rule_statements};
use super::{Nft, run};
use crate::apply::{Error, SCRATCH_TABLE};
use crate::dataplane::{Action, EndpointList, Expr, Family, Rule, SetName, SizeClass};

/// The oldest version that takes maps with several fields of data, and `typeof` keys, as JSON.
const OLDEST_VERSION: [u32; 3] = [1, 1, 3];

/// The program's version, if it is new enough and speaks JSON.
pub(super) async fn version(program: &Path) -> Result<String, Error> {
    let doing = "asking nft for its version";
    let printed = run::run(program, &["-V"], Vec::new(), doing).await?;
    let printed = String::from_utf8_lossy(&printed);
    let found = printed.lines().next().unwrap_or_default().trim().to_owned();
    let unsuitable =
        |why: &str| Error::Unsuitable { program: program.to_owned(), found: found.clone(), why: why.to_owned() };
    let version: String =
        found.trim_start_matches("nftables v").chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let numbers = [(); 3].map(|()| numbers.next().unwrap_or(0));
    if numbers < OLDEST_VERSION {
        return Err(unsuitable("older versions create something else than these maps, without an error"));
    }
    if printed.lines().any(|line| line.split_whitespace().eq(["json:", "no"])) {
        return Err(unsuitable("it was built without JSON"));
    }
    Ok(version)
}

/// Creates a map; from a second process fills it and adds a rule that looks it up; lists, compares and deletes both.
pub(super) async fn run(nft: &Nft) -> Result<(), Error> {
    let doing = "testing nft and the kernel in a scratch table";
    let batch = |commands: Value| json!({ "nftables": commands }).to_string().into_bytes();
    let (family, definition) = (Family::Ip, SetName::Endpoints(EndpointList::Any).definition());
    let map_name = SetName::Endpoints(EndpointList::Any).to_string();
    let table = json!({"family": family.nft(), "name": SCRATCH_TABLE});
    let typed = |fields| serde_json::to_value(field_types(family, fields));
    let unreadable = |source| Error::Unreadable { doing, source };
    let map = json!({
        "family": family.nft(), "table": SCRATCH_TABLE, "name": map_name,
        "type": {"typeof": typed(definition.key).map_err(unreadable)?},
        "map": {"typeof": typed(definition.data).map_err(unreadable)?},
    });
    let element = json!([
        {"elem": {"val": {"concat": ["192.0.2.1", "tcp", 80, 7]}, "comment": "default/web:http"}},
        {"concat": ["192.0.2.2", 8080]},
    ]);
    let elements = json!({"family": family.nft(), "table": SCRATCH_TABLE, "name": map_name, "elem": [element]});

    // First delete the scratch table that a killed run may have left.
    let create = json!([{"add": {"table": table}}, {"delete": {"table": table}}, {"add": {"table": table}}, {"add": {"map": map}}]);
    nft.send(batch(create), doing).await?;
    // The second process: an element, and a rule that translates to the map's data.
    let chain = json!({"family": family.nft(), "table": SCRATCH_TABLE, "name": "translate"});
    let slot = Expr::key_of(SetName::Endpoints(EndpointList::Any)).random_slot(SizeClass::MAX);
    let translate = Rule::new(family, Action::DnatTo(slot, SetName::Endpoints(EndpointList::Any)));
    let mut rule = json!({"family": family.nft(), "table": SCRATCH_TABLE, "chain": "translate"});
    rule["expr"] = serde_json::to_value(rule_statements(&translate)).map_err(unreadable)?;
    let fill = json!([{"add": {"chain": chain}}, {"add": {"element": elements}}, {"add": {"rule": &rule}}]);
    let filled = nft.send(batch(fill), doing).await;
    let listing = nft.list(family, SCRATCH_TABLE, doing).await;
    nft.send(batch(json!([{"delete": {"table": table}}])), doing).await?;
    filled?;
    let listing: Value = serde_json::from_slice(&listing?.unwrap_or_default()).map_err(unreadable)?;
    let found = |kind| listing["nftables"].as_array().into_iter().flatten().find_map(|item| item.get(kind));
    let same_map = found("map").is_some_and(|found| found["type"] == map["type"] && found["elem"] == json!([element]));
    // A rule with another listing does something else: for some types in the map nft adds a condition of its own.
    let same_rule = found("rule").is_some_and(|found| found["expr"] == rule["expr"]);
    if same_map && same_rule {
        return Ok(());
    }
    Err(Error::Unsuitable {
        program: nft.program.clone(),
        found: format!("nftables v{}", nft.version),
        why: format!("it created something else than was asked for, and lists {listing}"),
    })
}
