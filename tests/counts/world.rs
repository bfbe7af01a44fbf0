//! The real loop in front of a backend that only encodes.

use std::time::Duration;

use futures::FutureExt;
use pointsman::apply::{Backend, Error, Netlink, Receipt};
use pointsman::dataplane::{Element, Family, Operation, Options, Tables};
use pointsman::diff::Scope;
use pointsman::engine::EngineSettings;
use pointsman::observe::{Events, Health};
use pointsman::proxy::{Proxy, Until};
use pointsman::state::{Event, NodePortAddresses, View};
use pointsman::watch::Received;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::NODE;
use crate::scenarios;

/// Much longer than anything waits.
const LATER: Duration = Duration::from_secs(10);

/// A loop, its events, and what it sent last.
pub struct World {
    runtime: Runtime,
    proxy: Proxy<Encoder>,
    events: mpsc::Sender<Received>,
    received: mpsc::Receiver<Received>,
    shutdown: CancellationToken,
}

/// A backend that encodes each batch and sends it nowhere.
#[derive(Default)]
struct Encoder {
    buffer: Vec<u8>,
    operations: usize,
    bytes: usize,
}

impl World {
    /// A loop that has programmed a cluster of this many Services.
    pub fn new(services: u32) -> Self {
        let network = "192.0.2.0/24".parse().expect("a network");
        let view =
            View { node_name: NODE.into(), node_ports: NodePortAddresses::networks(vec![network]), ..View::default() };
        let scope = Scope::dual_stack(Options::default());
        let (events, received) = mpsc::channel(64);
        let mut world = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime"),
            proxy: Proxy::new(Encoder::default(), EngineSettings::new(scope, view))
                .with_observers(Health::default(), Events::default()),
            events,
            received,
            shutdown: CancellationToken::new(),
        };
        world.give(scenarios::initial_cluster(services));
        let first_sync = world.proxy.run(&mut world.received, Until::FirstSync, &world.shutdown);
        world.runtime.block_on(first_sync).expect("the backend accepts every batch");
        let (operations, _) = world.sent();
        assert!(operations > 7 * u64::from(services), "everything is programmed: {operations}");
        world
    }

    /// Gives the loop events.
    pub fn give(&mut self, events: Vec<Event>) {
        for event in events {
            assert!(self.events.try_send(Received::now(event)).is_ok(), "there is room");
        }
    }

    /// Lets the time pass in which what changes left behind is deleted.
    pub fn let_time_pass(&mut self) {
        let run = self.proxy.run(&mut self.received, Until::Shutdown, &self.shutdown);
        let waiting = self.runtime.block_on(async { tokio::time::timeout(LATER, run).await });
        assert!(waiting.is_err(), "the loop waits for events");
    }

    /// The operations and bytes of the last turn.
    pub fn sent(&mut self) -> (u64, u64) {
        let encoder = self.proxy.backend();
        let (operations, bytes) = (std::mem::take(&mut encoder.operations), std::mem::take(&mut encoder.bytes));
        (operations as u64, bytes as u64)
    }
}

/// The counted function; valgrind finds it by this name.
#[inline(never)]
pub fn one_turn(world: &mut World) {
    let _runtime = world.runtime.enter();
    // The events are there and the backend never waits, so when the loop waits it has done everything.
    let waiting = world.proxy.run(&mut world.received, Until::Shutdown, &world.shutdown).now_or_never();
    assert!(waiting.is_none(), "the loop waits for events");
}

impl Backend for Encoder {
    fn read(&mut self, _: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        std::future::ready(Ok(Tables::default()))
    }

    async fn clients(&mut self, _: pointsman::dataplane::Frontend) -> Result<Vec<Element>, Error> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.buffer = Netlink::encode(operations, std::mem::take(&mut self.buffer))?;
        self.operations += operations.len();
        self.bytes += self.buffer.len();
        Ok(Receipt { bytes: self.buffer.len() })
    }
}
