//! A load that goes on: endpoints are replaced all over the cluster at a steady pace.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use indicatif::ProgressBar;
use pointsman::apply::Backend;
use tokio::time::Instant;

use crate::common::figures::{Spread, milliseconds};
use crate::common::machine::cpu_of_the_others;
use crate::live::Live;
use crate::looped::Loop;
use crate::results::Load;

/// Changed endpoints a second.
const RATE: u32 = 1_000;
/// Services between one change and the next: a prime, so that all have their turn.
const STRIDE: usize = 7_919;

/// Replaces [`RATE`] endpoints a second, each by an event of its own, and waits until the last is programmed.
pub fn sustained<B: Backend + 'static>(
    looped: &Loop<B>,
    live: &mut Live,
    seconds: u32,
    progress: &ProgressBar,
) -> Load {
    progress.set_message(format!("{RATE} changes a second for {seconds} s"));
    let size = live.size();
    let (services, endpoints) = (size.services as usize, size.endpoints as usize);
    // Made before, so that only sending takes time.
    let changes = (0..(RATE * seconds) as usize).map(|n| live.replace(n * STRIDE % services, n / services % endpoints));
    let changes: Vec<_> = changes.collect();
    let sent = changes.len();

    let cpu = cpu_of_the_others();
    let started = Instant::now();
    let mut waiting: BTreeMap<IpAddr, Instant> = BTreeMap::new();
    for (n, (event, addr)) in changes.into_iter().enumerate() {
        let due = started + Duration::from_secs(1) * u32::try_from(n).expect("few changes") / RATE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        waiting.insert(addr, Instant::now());
        looped.send(event);
    }
    let mut lags = Vec::new();
    let (mut commits, mut last) = (0, started);
    while !waiting.is_empty() {
        let commit = looped.next_commit();
        commits += 1;
        last = commit.ended;
        let arrived = commit.arrived.iter().filter_map(|addr| waiting.remove(addr));
        lags.extend(arrived.map(|sent| milliseconds(commit.ended - sent)));
    }
    let cpu = cpu_of_the_others().saturating_sub(cpu);
    let longest = lags.iter().copied().fold(0.0, f64::max);
    Load {
        rate: RATE,
        seconds,
        sent,
        programmed: lags.len(),
        commits,
        lag: Spread::of(lags),
        longest,
        cpu: cpu.as_secs_f64() / (last - started).as_secs_f64(),
        verified: None,
    }
}
