//! A story: a setup and steps, all from one seed. Each step carries its own luck, so that a story without some of its steps is still the
//! same story for the others.

use std::collections::BTreeSet;

use pointsman::dataplane::{Family, LocalPods};
use pointsman::state::NodePortAddresses;

use crate::api::Micros;
use crate::kernel::ForeignWrite;
use crate::model::{Setup, networks};
use crate::objects::Size;
use crate::random::Random;

/// What an operator and a machine choose.
#[derive(Clone, Debug)]
pub struct Settings {
    pub packets: Setup,
    /// The engine's limit for one slice.
    pub max_slice: usize,
    pub min_sync_period: Micros,
    /// Commits of others can be heard.
    pub hears: bool,
}

/// A whole story.
#[derive(Clone, Debug)]
pub struct Story {
    pub seed: u64,
    pub size: Size,
    pub settings: Settings,
    pub steps: Vec<Step>,
}

/// One step, and how long the world goes on after it.
#[derive(Clone, Debug)]
pub struct Step {
    pub act: Act,
    pub luck: u64,
    pub pause: Micros,
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    PutService,
    DeleteService,
    PutSlice,
    Roll,
    DeleteSlice,
    PutCidr,
    DeleteCidr,
    PutNode,
    DeleteNode,
    Touch,
    Damage,
    Supersede,
    Flood,
    Cut,
    CutAll,
    Stall,
    Compact,
    Freeze,
    Thaw,
    RestoreEtcd,
    BreakList,
    Refuse,
    LoseAcknowledgement,
    LoseBatch,
    FailReading,
    Slow,
    Poison,
    ShortMemory,
    Heal,
    Save,
    Foreign(ForeignWrite),
    Fight,
    Noise,
    LoseNews,
    Crash,
    Reconfigure,
    Jump,
    Settle,
    Connect,
}

/// How often each act comes.
const WEIGHTS: &[(u64, Act)] = &[
    (160, Act::Roll),
    (90, Act::PutSlice),
    (80, Act::PutService),
    (60, Act::Connect),
    (25, Act::DeleteService),
    (25, Act::DeleteSlice),
    (14, Act::Touch),
    (10, Act::PutNode),
    (2, Act::DeleteNode),
    (8, Act::PutCidr),
    (3, Act::DeleteCidr),
    (8, Act::Damage),
    (4, Act::Supersede),
    (6, Act::Flood),
    (10, Act::Cut),
    (4, Act::CutAll),
    (6, Act::Stall),
    (5, Act::Compact),
    (4, Act::Freeze),
    (5, Act::Thaw),
    (3, Act::RestoreEtcd),
    (4, Act::BreakList),
    (8, Act::Refuse),
    (8, Act::LoseAcknowledgement),
    (6, Act::LoseBatch),
    (6, Act::FailReading),
    (5, Act::Slow),
    (5, Act::Poison),
    (3, Act::ShortMemory),
    (10, Act::Heal),
    (4, Act::Save),
    (4, Act::Foreign(ForeignWrite::FlushTable)),
    (3, Act::Foreign(ForeignWrite::FlushRuleset)),
    (4, Act::Foreign(ForeignWrite::Restore)),
    (5, Act::Foreign(ForeignWrite::DeleteElement)),
    (5, Act::Foreign(ForeignWrite::ReplaceElement)),
    (4, Act::Foreign(ForeignWrite::AddElement)),
    (5, Act::Foreign(ForeignWrite::EditRules)),
    (4, Act::Foreign(ForeignWrite::AddChain)),
    (3, Act::Fight),
    (6, Act::Noise),
    (3, Act::LoseNews),
    (10, Act::Crash),
    (3, Act::Reconfigure),
    (5, Act::Jump),
    (10, Act::Settle),
];

fn act(random: &mut Random) -> Act {
    let mut at = random.below(WEIGHTS.iter().map(|(weight, _)| weight).sum());
    for (weight, act) in WEIGHTS {
        if at < *weight {
            return *act;
        }
        at -= weight;
    }
    Act::Connect
}

/// Settings of an operator.
pub fn settings(random: &mut Random) -> Settings {
    let local_pods = match random.below(6) {
        0 => LocalPods::Unknown,
        1..4 => LocalPods::Networks(networks(&["10.1.0.0/16", "fd00:1::/64"])),
        // Of each family the first counts, and here IPv6 has none.
        4 => LocalPods::Networks(networks(&["10.1.0.0/29", "10.1.0.0/16"])),
        _ => LocalPods::Interface("cni*".to_owned()),
    };
    let node_ports = match random.below(8) {
        0 => NodePortAddresses::networks(networks(&["192.0.2.0/31", "fd00:192::/64"])),
        1 => NodePortAddresses::networks(Vec::new()),
        2 => NodePortAddresses { primary: false, localhost: BTreeSet::from(Family::ALL), networks: Vec::new() },
        _ => NodePortAddresses::default(),
    };
    let packets = Setup {
        local_pods,
        masquerade_all: random.one_in(4),
        masquerade_bit: if random.one_in(4) { random.small(32) } else { 14 },
        node_ports,
        has_external_ip: random.one_in(4),
    };
    Settings {
        packets,
        max_slice: *random.pick(&[usize::MAX, usize::MAX, 1, 5, 20, 60]),
        min_sync_period: *random.pick(&[0, 0, 0, 1_000_000]),
        hears: !random.one_in(5),
    }
}

fn pause(random: &mut Random) -> Micros {
    match random.below(20) {
        0..8 => 0,
        8..14 => random.below(50_000),
        14..17 => random.below(1_000_000),
        17..19 => random.below(10_000_000),
        _ => random.below(100_000_000),
    }
}

impl Story {
    /// The story of a seed, of so many steps.
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut random = Random::new(seed);
        let size = Size {
            services: *random.pick(&[1, 2, 4, 8, 8, 12, 24]),
            endpoints: *random.pick(&[1, 3, 6, 6, 12, 20, 40]),
        };
        let settings = settings(&mut random);
        let steps =
            (0..steps).map(|_| Step { act: act(&mut random), luck: random.number(), pause: pause(&mut random) });
        let steps = steps.collect();
        Self { seed, size, settings, steps }
    }
}
