//! Packets that are among the rules while changes are committed: whatever they look up before a batch and after it, they get what a
//! snapshot says that held meanwhile.

use std::rc::Rc;
use std::time::Duration;

use super::*;

/// How long what packets may look up stays.
const GRACE: Duration = Duration::from_millis(50);

/// What a kernel held from a moment on, and the objects that it was programmed for.
struct Generation {
    since: Moment,
    kernel: MemoryKernel,
    model: Rc<Model>,
}

/// A node whose commits are kept, with the time.
struct Timeline {
    node: Programmed,
    now: Moment,
    generations: Vec<Generation>,
}

impl Timeline {
    fn new(setup: &Setup, grace: Option<Duration>) -> Self {
        let mut node = Programmed::new(setup);
        let settings = node.engine.settings().clone();
        node.engine = Engine::new(EngineSettings { slice_goal: None, grace, ..settings });
        let mut timeline = Self { node, now: Moment::default(), generations: Vec::new() };
        initial().into_iter().for_each(|event| timeline.node.apply(event));
        timeline.node.apply(Event::HostAddresses(setup.host().into_iter().collect()));
        timeline
    }

    /// Commits what is due until then.
    fn run_until(&mut self, end: Moment) {
        loop {
            match self.node.engine.next(self.now) {
                Next::Commit(plan) => {
                    self.node.kernel.apply(&plan.operations).expect("the kernel takes a plan");
                    self.node.engine.committed(*plan, self.now, self.now);
                    let (kernel, model) = (self.node.kernel.clone(), Rc::new(self.node.model.clone()));
                    self.generations.push(Generation { since: self.now, kernel, model });
                }
                Next::Read => {
                    let held = Acknowledged::from(self.node.kernel.contents(&Family::ALL));
                    self.node.engine.read_back(held, self.now);
                }
                Next::Wait(Some(at)) if at <= end => self.now = at,
                Next::Wait(_) => break,
            }
        }
        self.now = end;
    }

    /// Everything that packets may meet: up to three generations, of which the later ones come within the time that a packet may take.
    fn windows(&self) -> impl Iterator<Item = &[Generation]> {
        let lasts = |window: &&[Generation]| window[window.len() - 1].since.since(window[1].since) < GRACE;
        (2..=3).flat_map(|size| self.generations.windows(size)).filter(lasts)
    }
}

/// What becomes of a packet against the law, if anything does.
///
/// - A packet that every snapshot serves is served. One that every snapshot forbids is not, nor one that no snapshot serves.
/// - One that is served goes to an endpoint of its service port, of one of the snapshots.
///
/// A packet that only some of the snapshots serve may be refused, dropped or left alone where none of them says just that: an address
/// refuses from the moment on at which it becomes a ClusterIP, also the packet that has just passed the ClusterIPs. And a packet that has
/// passed the check of sources may be served by a frontend that comes with such a check.
///
/// Left out are addresses that go over from one Service to another of which one has it as its ClusterIP and the other not.
fn stray(window: &[Generation], packet: &Packet, host: &BTreeSet<IpAddr>) -> Option<PacketOutcome> {
    let kind = |generation: &Generation| generation.model.asked_for(packet).map(|(.., kind)| kind == Kind::ClusterIp);
    let kinds: BTreeSet<bool> = window.iter().filter_map(kind).collect();
    if kinds.len() > 1 {
        return None;
    }
    let says: Vec<_> = window.iter().map(|generation| generation.model.outcomes(packet)).collect();
    let is_served = |says: &BTreeSet<_>| says.iter().any(is_translated);
    let is_due = window.iter().any(|generation| is_served(&generation.model.outcomes_if_allowed(packet)))
        && !window.iter().all(|generation| generation.model.forbids(packet));
    let all_serve = says.iter().all(is_served);
    let endpoints: BTreeSet<Endpoint> =
        window.iter().flat_map(|generation| generation.model.endpoints(packet)).collect();
    let kernels: Vec<&MemoryKernel> = window.iter().map(|generation| &generation.kernel).collect();
    let is_lawful = |found: &PacketOutcome| {
        says.iter().any(|says| says.contains(found))
            || match found {
                PacketOutcome::Goes { to, translated: true, .. } => is_due && endpoints.contains(to),
                _ => !all_serve,
            }
    };
    let found = MemoryKernel::outcomes_across(&kernels, packet, host);
    found.into_iter().find(|found| !is_lawful(found))
}

fn is_translated(outcome: &PacketOutcome) -> bool {
    matches!(outcome, PacketOutcome::Goes { translated: true, .. })
}

/// Something happens, and then time passes.
fn step() -> impl Strategy<Value = (Event, Duration)> {
    let event = prop_oneof![4 => slice_event(), 2 => service_event(), 1 => later_event()];
    let pause = prop_oneof![2 => Just(0u64), 3 => 1u64..50, 1 => 50u64..120];
    (event, pause.prop_map(Duration::from_millis))
}

/// What becomes of some packets against the law, while all this happens.
fn strays(timeline: &Timeline, shots: &[Shot]) -> Vec<(Packet, PacketOutcome)> {
    let host = timeline.node.setup.host();
    let mut strays = Vec::new();
    for window in timeline.windows() {
        for (shot, generation) in shots.iter().flat_map(|shot| window.iter().map(move |generation| (shot, generation)))
        {
            let packet = fire(&generation.model, shot);
            strays.extend(stray(window, &packet, &host).map(|outcome| (packet, outcome)));
        }
    }
    strays
}

/// Lets this happen, until nothing waits any more.
fn play(setup: &Setup, events: Vec<Event>, steps: Vec<(Event, Duration)>, grace: Option<Duration>) -> Timeline {
    let mut timeline = Timeline::new(setup, grace);
    events.into_iter().for_each(|event| timeline.node.apply(event));
    timeline.run_until(timeline.now);
    for (event, pause) in steps {
        timeline.node.apply(event);
        timeline.run_until(timeline.now + pause);
    }
    timeline.run_until(timeline.now + GRACE * 4);
    timeline
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().cases / 4, ..cases() })]

    #[test]
    fn a_packet_gets_what_a_snapshot_says_that_held_while_it_was_among_the_rules(
        setup in setup(),
        events in events(),
        steps in vec(step(), 1..12),
        shots in vec(shot(), 1..12),
    ) {
        let timeline = play(&setup, events, steps, Some(GRACE));
        let strays = strays(&timeline, &shots);
        prop_assert!(strays.is_empty(), "{:?}", strays);
        prop_assert!(!timeline.node.engine.has_leftovers());
        let held = Acknowledged::from(timeline.node.kernel.contents(&Family::ALL));
        let desired = timeline.node.engine.snapshot().desired();
        prop_assert!(pointsman::diff::diff(&held, desired, &setup.scope()).is_empty());
    }
}

/// The law is not an empty one.
#[test]
fn without_a_second_phase_packets_fall_between_two_snapshots() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let all = (setup(), events(), vec(step(), 6..12), vec(shot(), 12));
    let fails = (0..200).any(|_| {
        let (setup, events, steps, shots) = all.new_tree(&mut runner).unwrap().current();
        !strays(&play(&setup, events, steps, None), &shots).is_empty()
    });
    assert!(fails);
}
