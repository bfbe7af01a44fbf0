//! What the first packet of a connection pays for the rules. Needs root and nft.
//!
//! New UDP flows go from a namespace to ClusterIPs, one datagram each: the rules choose an endpoint, connection tracking remembers
//! it, and the packet leaves by an interface without a carrier, which drops it. All variants take turns, round by round, so a slow
//! moment of the machine is everybody's; the best round of each counts, in processor time of the sender.
//!
//! Variants: our program at several sizes, the shape that kube-proxy's nftables mode gives its table ([`chains`]), and connection
//! tracking with NAT but without rules; and ours with session affinity, with counters, and with packets that are for no Service. Flows come from a
//! pod's address, and from the host's own, which is masqueraded.
//!
//! ```text
//! cargo bench --bench dataplane [-- [--rounds N] [--docs]]        default: 400 rounds; --docs writes docs/performance.md
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
/// Nor more than this because other Services have session affinity.
const TIMEOUTS: f64 = 1.03;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = args.iter().position(|arg| arg == "--rounds").and_then(|at| args.get(at + 1)?.parse().ok());
    let rounds = rounds.unwrap_or(400);
    let size = |services| Size { services, endpoints: 5 };
    let variants = [
        ("connection tracking and NAT, no rules", Rules::None, size(100)),
        ("connection tracking and NAT, no rules", Rules::None, size(5_000)),
        ("connection tracking and NAT, no rules", Rules::None, size(50_000)),
        ("Pointsman", Rules::Program, size(100)),
        ("Pointsman", Rules::Program, size(5_000)),
        ("Pointsman", Rules::Program, size(50_000)),
        ("a chain for each Service", Rules::Chains, size(100)),
        ("a chain for each Service", Rules::Chains, size(5_000)),
        ("Pointsman, some other Services with session affinity", Rules::OneAffinity, size(5_000)),
        ("Pointsman, every Service with session affinity", Rules::Affinity, size(5_000)),
        ("Pointsman, packets that are for no Service", Rules::Others, size(5_000)),
        ("Pointsman, 5,000 other Services with as many affinity timeouts", Rules::OtherTimeouts, size(5_000)),
        (
            "Pointsman, one Service with affinity: a known client (pod), an unknown one (host)",
            Rules::OneClient,
            size(1),
        ),
        ("the same, beside 5,000 others with as many timeouts", Rules::OneClientBesideOthers, size(100)),
        ("Pointsman with counters", Rules::Counters, size(5_000)),
    ];
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}").expect("a template");
    let progress = ProgressBar::new(variants.len() as u64).with_style(style.clone()).with_message("loading rules");
    let mut ready: Vec<Variant> = Vec::new();
    for (name, rules, size) in variants {
        ready.push(Variant::new(name, rules, size));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let progress = ProgressBar::new(rounds).with_style(style).with_message("rounds");
    for _ in 0..rounds {
        for source in Source::ALL {
            ready.iter_mut().for_each(|variant| variant.round(source));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    println!("{}\n", Machine::this());
    let text = report(&ready);
    println!("{text}");
    if args.iter().any(|arg| arg == "--docs") {
        common::docs::replace("dataplane", &text);
    }
}

/// How many new flows one processor opens in a second, to three digits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn flows_a_second(nanoseconds: f64) -> String {
    thousands((1e6 / nanoseconds).round() as u64 * 1_000)
}

fn report(variants: &[Variant]) -> String {
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
    let row = |variant: &Variant| {
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
    let [
        none_small,
        _,
        none,
        small,
        middle,
        large,
        few_chains,
        chains,
        others_sticky,
        sticky,
        _,
        timeouts,
        alone,
        beside,
        counters,
    ] = variants
    else {
        return text;
    };
    let ratio = |of: &Variant, to: &Variant, source: Source| of.times(source).best / to.times(source).best;
    let mut line = |what: &str, of: &Variant, to: &Variant, goal: Option<f64>| {
        let [pod, host] = Source::ALL.map(|source| ratio(of, to, source));
        let verdict = |ratio: f64| goal.map_or("", |goal| if ratio <= goal { " (met)" } else { " (missed)" });
        let goal = goal.map_or(String::new(), |goal| format!("; the goal is at most {goal:.2}"));
        let (from_pod, from_host) = (verdict(pod), verdict(host));
        text += &format!("\n- {what}: {pod:.2} from a pod{from_pod}, {host:.2} from the host{from_host}{goal}.");
    };
    line("Pointsman at 50,000 × 5 beside 100 × 5", large, small, Some(GROWTH));
    line("Without rules, at 50,000 × 5 beside 100 × 5", none, none_small, None);
    line("Pointsman at 5,000 × 5 beside 100 × 5", middle, small, None);
    line("A chain for each Service at 5,000 × 5 beside 100 × 5", chains, few_chains, None);
    line("Pointsman beside a chain for each Service, at 5,000 × 5", middle, chains, Some(BESIDE));
    line("Pointsman where others have session affinity beside none, at 5,000 × 5", others_sticky, middle, None);
    line("Pointsman with session affinity, the client known, beside none, at 5,000 × 5", sticky, middle, None);
    line("Pointsman beside 5,000 other Services with as many timeouts, at 5,000 × 5", timeouts, middle, Some(TIMEOUTS));
    line("100 Services with session affinity beside 5,000 others with as many timeouts", beside, alone, Some(TIMEOUTS));
    line("Pointsman with counters beside without, at 5,000 × 5", counters, middle, None);
    text + "\n"
}
