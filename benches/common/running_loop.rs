//! The real loop on the real kernel, in a thread of its own.

use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use pointsman::apply::Netlink;
use pointsman::dataplane::Options;
use pointsman::diff::Scope;
use pointsman::engine::EngineSettings;
use pointsman::observe::{Events, Health};
use pointsman::proxy::{Proxy, Until};
use pointsman::state::{Event, View};
use pointsman::tasks::Supervisor;
use pointsman::watch::Received;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::common::cluster::NODE;
use crate::metered::{Commit, Metered};

/// How long to wait for the first sync.
const PATIENCE: Duration = Duration::from_secs(300);

/// The loop, until it is stopped.
pub struct RunningLoop {
    events: mpsc::Sender<Received>,
    pub commits: std_mpsc::Receiver<Commit>,
    shutdown: CancellationToken,
    thread: JoinHandle<()>,
}

impl RunningLoop {
    /// Starts a loop over empty tables, with what `equip` adds to it, and waits until they hold what these lists ask for.
    pub fn start(
        lists: Vec<Event>,
        equip: impl FnOnce(Proxy<Metered<Netlink>>, &Supervisor) -> Proxy<Metered<Netlink>> + Send + 'static,
    ) -> Self {
        let (events, mut received) = mpsc::channel(4_096);
        let (backend, commits) = Metered::new(Netlink::open().expect("netlink works"));
        let (synced, first_sync) = std_mpsc::channel();
        let shutdown = CancellationToken::new();
        let ending = shutdown.clone();
        let run = async move {
            let view = View { node_name: NODE.into(), ..View::default() };
            let settings = EngineSettings::new(Scope::dual_stack(Options::default()), view);
            let proxy = Proxy::new(backend, settings).with_observers(Health::default(), Events::default());
            let mut proxy = equip(proxy, &Supervisor::new(ending.clone()));
            proxy.run(&mut received, Until::FirstSync, &ending).await.expect("the first sync");
            synced.send(()).expect("the benchmark waits");
            proxy.run(&mut received, Until::Shutdown, &ending).await.expect("an orderly end");
        };
        // As in the program.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let thread = std::thread::spawn(move || runtime.block_on(run));
        let running = Self { events, commits, shutdown, thread };
        lists.into_iter().for_each(|event| running.send(event));
        first_sync.recv_timeout(PATIENCE).expect("a first sync");
        running
    }

    /// Hands an event to the loop.
    pub fn send(&self, event: Event) {
        self.events.blocking_send(Received::now(event)).expect("the loop runs");
    }

    /// Ends the loop.
    pub fn stop(self) {
        self.shutdown.cancel();
        self.thread.join().expect("the loop ends");
    }
}
