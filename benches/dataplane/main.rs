//! What the first packet of a connection pays for the rules. Needs root and nft.
//!
//! New UDP flows go from a namespace to ClusterIPs, one datagram each: the rules choose an endpoint, connection tracking remembers
//! it, and the packet leaves by an interface without a carrier, which drops it. All variants take turns, round by round, so a slow
//! moment of the machine is everybody's; the best round of each counts, in processor time of the sender.
//!
//! Variants: our program at several sizes, the shape that kube-proxy's nftables mode gives its table ([`chains`]), and connection
//! tracking with NAT but without rules; and ours with session affinity, source ranges or counters, and with packets that are for no Service. Flows come from a
//! pod's address, and from the host's own, which is masqueraded.
//!
//! ```text
//! cargo bench --bench dataplane [-- [--rounds N] [--only NAME,NAME] [--docs]]        default: 400 rounds; --docs writes docs/performance.md
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

mod chains;
#[path = "../common/mod.rs"]
mod common;
mod flows;
mod program;
mod variant;

use common::cluster::Size;
use common::figures::{head, table, thousands};
use common::machine::Machine;
use indicatif::{ProgressBar, ProgressStyle};
use variant::{Rules, Source, Variant};

/// Our program must not pay more at the largest size than at the smallest, but for this.
const GROWTH: f64 = 1.20;
/// And beside the other shape, at the same size, it must not pay more than this part.
const BESIDE: f64 = 0.95;
/// Nor more than this because other Services have session affinity or source ranges.
const ISOLATED: f64 = 1.03;

/// A kind of rules at one size: a short name, what readers of the table are told, the rules and the size.
type Kind = (&'static str, &'static str, Rules, Size);

const fn size(services: u32) -> Size {
    Size { services, endpoints: 5 }
}

const KINDS: &[Kind] = &[
    ("none-100", "connection tracking and NAT, no rules", Rules::None, size(100)),
    ("none-5000", "connection tracking and NAT, no rules", Rules::None, size(5_000)),
    ("none-50000", "connection tracking and NAT, no rules", Rules::None, size(50_000)),
    ("100", "Pointsman", Rules::Program, size(100)),
    ("5000", "Pointsman", Rules::Program, size(5_000)),
    ("50000", "Pointsman", Rules::Program, size(50_000)),
    ("chains-100", "a chain for each Service", Rules::Chains, size(100)),
    ("chains-5000", "a chain for each Service", Rules::Chains, size(5_000)),
    ("affinity-others", "Pointsman, some other Services with session affinity", Rules::OneAffinity, size(5_000)),
    ("affinity-all", "Pointsman, every Service with session affinity", Rules::Affinity, size(5_000)),
    ("no-service", "Pointsman, packets that are for no Service", Rules::Others, size(5_000)),
    ("timeouts", "Pointsman, 5,000 other Services with as many affinity timeouts", Rules::OtherTimeouts, size(5_000)),
    (
        "client",
        "Pointsman, Services with affinity: a known client (pod), an unknown one (host)",
        Rules::OneClient,
        size(100),
    ),
    ("client-plain", "the same, beside 5,000 others without affinity", Rules::OneClientBesidePlain, size(100)),
    ("client-timeouts", "the same, beside 5,000 others with as many timeouts", Rules::OneClientBesideOthers, size(100)),
    ("balancer", "Pointsman, load-balancer IPs that all sources may use", Rules::LoadBalancer, size(100)),
    ("ranges", "Pointsman, load-balancer IPs that only sources in two ranges may use", Rules::Ranges, size(100)),
    (
        "ranges-lengths",
        "the same, beside another Service with ranges of 30 lengths",
        Rules::RangesBesideOthers,
        size(100),
    ),
    ("counters", "Pointsman with counters", Rules::Counters, size(5_000)),
];

/// What is compared: a text, two kinds by their short names, and how many times as much as the second the first may take.
type Comparison = (&'static str, &'static str, &'static str, Option<f64>);

const COMPARISONS: &[Comparison] = &[
    ("Pointsman at 50,000 × 5 beside 100 × 5", "50000", "100", Some(GROWTH)),
    ("Without rules, at 50,000 × 5 beside 100 × 5", "none-50000", "none-100", None),
    ("Pointsman at 5,000 × 5 beside 100 × 5", "5000", "100", None),
    ("A chain for each Service at 5,000 × 5 beside 100 × 5", "chains-5000", "chains-100", None),
    ("Pointsman beside a chain for each Service, at 5,000 × 5", "5000", "chains-5000", Some(BESIDE)),
    ("Pointsman where others have session affinity beside none, at 5,000 × 5", "affinity-others", "5000", None),
    ("Pointsman with session affinity, the client known, beside none, at 5,000 × 5", "affinity-all", "5000", None),
    ("Pointsman beside 5,000 other Services with as many timeouts, at 5,000 × 5", "timeouts", "5000", Some(ISOLATED)),
    (
        "100 Services with session affinity beside 5,000 others with as many timeouts, and beside 5,000 without: a known client (pod), an unknown one (host)",
        "client-timeouts",
        "client-plain",
        Some(ISOLATED),
    ),
    ("The same Services beside 5,000 others without affinity, and alone", "client-plain", "client", None),
    ("The same Services beside 5,000 others with as many timeouts, and alone", "client-timeouts", "client", None),
    ("Source ranges beside none, at a load-balancer IP", "ranges", "balancer", None),
    ("Source ranges beside those of another Service, with 30 lengths", "ranges-lengths", "ranges", Some(ISOLATED)),
    ("Pointsman with counters beside without, at 5,000 × 5", "counters", "5000", None),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let rounds = value("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(400);
    let only: Option<Vec<&str>> = value("--only").map(|names| names.split(',').collect());
    let is_wanted = |kind: &&Kind| only.as_ref().is_none_or(|only| only.contains(&kind.0));
    let kinds: Vec<&Kind> = KINDS.iter().filter(is_wanted).collect();
    let are_known = only.as_ref().is_none_or(|only| only.len() == kinds.len());
    assert!(are_known, "--only knows {}", KINDS.iter().map(|kind| kind.0).collect::<Vec<_>>().join(","));
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}").expect("a template");
    let progress = ProgressBar::new(kinds.len() as u64).with_style(style.clone()).with_message("loading rules");
    let mut ready: Vec<(&str, Variant)> = Vec::new();
    for (short, name, rules, size) in kinds {
        ready.push((*short, Variant::new(name, *rules, *size)));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let progress = ProgressBar::new(rounds).with_style(style).with_message("rounds");
    for _ in 0..rounds {
        for source in Source::ALL {
            ready.iter_mut().for_each(|(_, variant)| variant.round(source));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    println!("{}\n", Machine::this());
    let text = report(&ready);
    println!("{text}");
    if args.iter().any(|arg| arg == "--docs") {
        assert!(only.is_none(), "docs/performance.md has the table of all");
        common::docs::replace("dataplane", &text);
    }
}

/// How many new flows one processor opens in a second, to three digits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn flows_a_second(nanoseconds: f64) -> String {
    thousands((1e6 / nanoseconds).round() as u64 * 1_000)
}

fn report(variants: &[(&str, Variant)]) -> String {
    let titles = [
        "Rules",
        "Services × endpoints",
        "from a pod: best round",
        "median round",
        "new flows a second",
        "from the host: best round",
        "median round",
        "new flows a second",
    ];
    let row = |(_, variant): &(&str, Variant)| {
        let mut cells = vec![variant.name.to_owned(), variant.size.to_string()];
        for source in Source::ALL {
            let times = variant.times(source);
            cells.push(format!("{:.0} ns", times.best));
            cells.push(format!("{:.0} ns", times.median));
            cells.push(flows_a_second(times.best));
        }
        cells
    };
    let rows: Vec<Vec<String>> = variants.iter().map(row).collect();
    let mut text = table(&head(&titles), &rows);
    let named = |name: &str| variants.iter().find(|(short, _)| *short == name).map(|(_, variant)| variant);
    for (what, of, to, goal) in COMPARISONS {
        let Some((of, to)) = named(of).zip(named(to)) else { continue };
        let ratios = Source::ALL.map(|source| {
            let (best, paired) = (of.times(source).best / to.times(source).best, of.ratio_to(to, source));
            let verdict = goal.map_or("", |goal| if paired <= goal { ", met" } else { ", missed" });
            format!("{best:.2} (round by round {paired:.2}{verdict})")
        });
        let goal = goal.map_or(String::new(), |goal| format!("; the goal is at most {goal:.2}"));
        text += &format!("\n- {what}: {} from a pod, {} from the host{goal}.", ratios[0], ratios[1]);
    }
    text + "\n"
}
