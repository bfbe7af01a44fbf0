use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::*;
use crate::conntrack::ConntrackFollower;
use crate::fixtures::{World, service, slice};
use crate::state::Event;
use crate::tasks::Supervisor;

/// A table in memory that fails when told to.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    flows: BTreeSet<Flow>,
    dumps: Vec<Family>,
    /// So many dumps are interrupted.
    interrupted: usize,
    /// So many dumps fail.
    failing: usize,
    /// This flow cannot be deleted.
    stuck: Option<Flow>,
    /// Is called in the middle of the next dump.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl Table for Fake {
    fn dump(&mut self, family: Family, each: &mut dyn FnMut(Flow)) -> io::Result<bool> {
        let mut state = self.0.lock().unwrap();
        state.dumps.push(family);
        if state.failing > 0 {
            state.failing -= 1;
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.flows.iter().filter(|flow| flow.family() == family).for_each(|flow| each(*flow));
        if let Some(meanwhile) = state.meanwhile.take() {
            meanwhile();
        }
        let complete = state.interrupted == 0;
        state.interrupted = state.interrupted.saturating_sub(1);
        Ok(complete)
    }

    fn delete(&mut self, flow: &Flow) -> io::Result<bool> {
        let mut state = self.0.lock().unwrap();
        if state.stuck == Some(*flow) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(state.flows.remove(flow))
    }
}

impl Fake {
    fn with(servers: &[&str]) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().flows = servers.iter().map(|server| flow(server)).collect();
        fake
    }

    fn servers(&self) -> Vec<String> {
        self.0.lock().unwrap().flows.iter().map(|flow| flow.server.ip().to_string()).collect()
    }

    fn dumps(&self) -> usize {
        self.0.lock().unwrap().dumps.len()
    }
}

/// A flow to `kube/dns` that this address answers.
fn flow(server: &str) -> Flow {
    let [client, destination] = ["192.0.2.2:20000", "10.96.0.1:53"].map(|text| text.parse().unwrap());
    Flow { client, destination, server: SocketAddr::new(server.parse().unwrap(), 5353), zone: 0, id: 1 }
}

fn dns(endpoints: &str) -> [Event; 2] {
    let slice = slice("kube/dns-1").ports(&["dns 5353/udp"]).endpoints(endpoints);
    [service("kube/dns").ports(&["dns 53/udp"]).into(), slice.into()]
}

/// A follower, and its worker.
fn started(table: impl Table) -> (ConntrackFollower, tokio::task::JoinHandle<()>) {
    ConntrackFollower::start(&Family::ALL, table, &Supervisor::default())
}

#[tokio::test]
async fn stale_flows_are_removed_and_valid_ones_stay() {
    let fake = Fake::with(&["10.1.0.1", "10.1.0.2"]);
    let (mut world, (mut conntrack, worker)) = (World::new(), started(fake.clone()));
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    drop(conntrack);
    worker.await.unwrap();
    assert_eq!(fake.servers(), ["10.1.0.1"]);
    assert_eq!(fake.0.lock().unwrap().dumps, [Family::Ip], "one dump, of the family that changed");
}

#[tokio::test]
async fn a_sync_that_changes_no_udp_frontend_dumps_nothing() {
    let fake = Fake::default();
    let (mut world, (mut conntrack, worker)) = (World::new(), started(fake.clone()));
    world.follow(&mut conntrack, []);
    world.follow(&mut conntrack, [service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1"]).into()]);
    drop(conntrack);
    worker.await.unwrap();
    assert_eq!(fake.dumps(), 0);
}

#[tokio::test]
async fn a_snapshot_is_kept_only_while_flows_are_looked_at() {
    let (mut world, (mut conntrack, _)) = (World::new(), started(Fake::default()));
    let kept = |conntrack: &ConntrackFollower| conntrack.newest.borrow().cluster().service_count();
    world.follow(&mut conntrack, [service("shop/web").into()]);
    assert_eq!(kept(&conntrack), 0, "there is nothing to look at");
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    assert_eq!(kept(&conntrack), 2, "the worker judges by it");
    while conntrack.done.load(Ordering::Acquire) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.follow(&mut conntrack, [slice("shop/web-1").ready(&["10.1.0.1"]).into()]);
    assert_eq!(kept(&conntrack), 0, "the worker has done what it was asked");
}

#[tokio::test]
async fn an_interrupted_dump_is_repeated_and_in_the_end_taken_as_it_is() {
    for (interrupted, dumps) in [(2, 3), (100, ATTEMPTS)] {
        let fake = Fake::with(&["10.1.0.2"]);
        fake.0.lock().unwrap().interrupted = interrupted;
        let (mut world, (mut conntrack, worker)) = (World::new(), started(fake.clone()));
        world.follow(&mut conntrack, dns("10.1.0.1 L r"));
        drop(conntrack);
        worker.await.unwrap();
        assert_eq!((fake.dumps(), fake.servers()), (dumps, vec![]));
    }
}

#[tokio::test]
async fn a_flow_that_a_commit_allows_during_the_dump_is_not_removed() {
    let fake = Fake::with(&["10.1.0.2", "10.1.0.3"]);
    let (mut world, (mut conntrack, worker)) = (World::new(), started(fake.clone()));
    let mut later = World::new();
    dns("10.1.0.1 L r, 10.1.0.2 L r").into_iter().for_each(|event| drop(later.apply(event)));
    let newest = conntrack.newest.clone();
    let meanwhile = move || drop(newest.send_replace(later.engine.snapshot().clone()));
    fake.0.lock().unwrap().meanwhile = Some(Box::new(meanwhile));
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    drop(conntrack);
    worker.await.unwrap();
    assert_eq!(fake.servers(), ["10.1.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_looked_at_again_without_another_change() {
    let fake = Fake::with(&["10.1.0.2"]);
    fake.0.lock().unwrap().failing = 2;
    let (mut world, (mut conntrack, worker)) = (World::new(), started(fake.clone()));
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    tokio::time::sleep(RETRY / 2).await;
    assert_eq!((fake.dumps(), fake.servers()), (1, vec!["10.1.0.2".to_owned()]));
    tokio::time::sleep(RETRY * 2).await;
    assert_eq!((fake.dumps(), fake.servers()), (3, vec![]));
    tokio::time::sleep(RETRY * 4).await;
    assert_eq!(fake.dumps(), 3, "and then no more");
    drop(conntrack);
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_looked_at_again_with_the_next_change() {
    let fake = Fake::with(&["10.1.0.2"]);
    fake.0.lock().unwrap().failing = 1;
    let (mut world, (mut conntrack, _)) = (World::new(), started(fake.clone()));
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    tokio::time::sleep(RETRY / 2).await;
    let other = service("kube/other").ips(&["10.96.0.9"]).ports(&["dns 53/udp"]).into();
    world.follow(&mut conntrack, [other]);
    tokio::time::sleep(RETRY / 4).await;
    assert_eq!((fake.dumps(), fake.servers()), (2, vec![]));
}

#[tokio::test]
async fn a_flow_that_cannot_be_deleted_does_not_keep_the_others() {
    let fake = Fake::with(&["10.1.0.2", "10.1.0.3"]);
    fake.0.lock().unwrap().stuck = Some(flow("10.1.0.2"));
    let (mut world, (mut conntrack, worker)) = (World::new(), started(fake.clone()));
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    drop(conntrack);
    worker.await.unwrap();
    assert_eq!(fake.servers(), ["10.1.0.2"]);
}

#[tokio::test]
async fn a_worker_that_dies_ends_the_process() {
    let (fake, supervisor, mut world) = (Fake::default(), Supervisor::default(), World::new());
    fake.0.lock().unwrap().meanwhile = Some(Box::new(|| panic!("broken for a test")));
    let (mut conntrack, _) = ConntrackFollower::start(&Family::ALL, fake, &supervisor);
    world.follow(&mut conntrack, dns("10.1.0.1 L r"));
    supervisor.shutdown().cancelled().await;
    let failure = supervisor.check().unwrap_err().to_string();
    assert!(failure.starts_with("the removal of stale UDP flows ended: it panicked: broken for a test"), "{failure}");
}
