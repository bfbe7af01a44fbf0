//! The real loop on the real kernel, fed with events.

use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::ProgressBar;
use pointsman::apply::Backend;
use pointsman::dataplane::{Family, Options as ProgramOptions};
use pointsman::diff::{Acknowledged, Scope, diff};
use pointsman::engine::EngineSettings;
use pointsman::observe::{Events, Health};
use pointsman::proxy::{Proxy, Until};
use pointsman::state::{Cluster, Desired, Event, View};
use pointsman::watch::Received;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::common::cluster::{NODE, Size};
use crate::common::machine::cpu_of_the_others;
use crate::common::namespace;
use crate::live::Live;
use crate::metered::{Commit, Metered};
use crate::options::Options;
use crate::results::InProcess;
use crate::{load, scenarios, stages};

/// Events that may wait: as many as in the program.
const QUEUE: usize = 4_096;
/// How long to wait for any one commit.
const PATIENCE: Duration = Duration::from_secs(900);
/// The largest cluster, in pods, that is read back through nft to be compared: larger ones take minutes.
const MOST_VERIFIED_BY_NFT: u32 = 250_000;

/// A loop that runs in a thread of its own.
pub struct Loop<B> {
    events: mpsc::Sender<Received>,
    commits: std_mpsc::Receiver<Commit>,
    thread: JoinHandle<(B, Cluster)>,
    shutdown: CancellationToken,
}

/// If there was no commit for so long, nothing is left of any change: a slice takes 50 ms, and so long is waited for packets on their way.
const SETTLED: Duration = Duration::from_millis(150);

/// What some events took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// From sending the first event to the acknowledgement of the last operation.
    pub time: Duration,
    /// The part of it that was spent in commits.
    pub committing: Duration,
    /// Operations.
    pub operations: usize,
    /// Length of the batches.
    pub bytes: usize,
    /// How many.
    pub commits: usize,
    /// Processor time of the loop.
    pub cpu: Duration,
}

impl Run {
    /// This one, and another after it.
    pub fn and(self, next: Self) -> Self {
        Self {
            time: self.time + next.time,
            committing: self.committing + next.committing,
            operations: self.operations + next.operations,
            bytes: self.bytes + next.bytes,
            commits: self.commits + next.commits,
            cpu: self.cpu + next.cpu,
        }
    }
}

/// Everything that is measured with a loop.
pub fn measure<B: Backend + 'static>(
    open: impl AsyncFnOnce() -> B,
    events: Vec<Event>,
    size: Size,
    options: &Options,
    progress: &ProgressBar,
) -> InProcess {
    let recorder = pointsman::metrics::recorder().expect("a recorder");
    metrics::set_global_recorder(recorder).expect("the first recorder");
    let runtime = namespace::runtime();
    let mut live = Live::new(size, &events);
    let mut backend = runtime.block_on(open());
    progress.set_message("step by step");
    let stages = runtime.block_on(stages::measure(&mut backend, &events, &mut live));
    progress.set_message("adopting filled tables");
    let (looped, adopting) = Loop::start(backend, events);
    let scenarios = scenarios::all(&looped, &mut live, progress);
    let mut load =
        (options.load_seconds > 0).then(|| load::sustained(&looped, &mut live, options.load_seconds, progress));
    looped.settle();
    let (mut backend, cluster) = looped.stop();
    if let Some(load) = &mut load
        && (options.backend != "nft" || size.pods() <= MOST_VERIFIED_BY_NFT)
    {
        progress.set_message("reading back");
        load.verified = Some(runtime.block_on(holds(&mut backend, &cluster)));
    }
    InProcess { stages, adopt_seconds: adopting.as_secs_f64(), scenarios, load }
}

/// The program of all measurements.
pub fn scope() -> Scope {
    Scope::dual_stack(ProgramOptions::default())
}

/// The place that the cluster is seen from.
pub fn view() -> View {
    View { node_name: NODE.into(), ..View::default() }
}

/// Whether the kernel holds what a cluster asks for, and nothing else.
async fn holds<B: Backend>(backend: &mut B, cluster: &Cluster) -> bool {
    let tables = backend.read(&Family::ALL).await.expect("the tables can be read");
    diff(&Acknowledged::from(tables), &Desired::from_cluster(cluster), &scope()).is_empty()
}

impl<B: Backend + 'static> Loop<B> {
    /// Starts a loop over tables that hold what these lists ask for; how long its first sync takes.
    fn start(backend: B, lists: Vec<Event>) -> (Self, Duration) {
        let (events, mut received) = mpsc::channel(QUEUE);
        let (backend, commits) = Metered::new(backend);
        let (synced, first_sync) = std_mpsc::channel();
        let shutdown = CancellationToken::new();
        let ending = shutdown.clone();
        let started = Instant::now();
        let run = async move {
            let mut proxy = Proxy::new(backend, EngineSettings::new(scope(), view()))
                .with_observers(Health::default(), Events::default());
            proxy.run(&mut received, Until::FirstSync, &ending).await.expect("the first sync");
            synced.send(started.elapsed()).expect("somebody waits");
            proxy.run(&mut received, Until::Shutdown, &ending).await.expect("an orderly end");
            let cluster = proxy.engine().snapshot().cluster().clone();
            (proxy.into_backend().into_inner(), cluster)
        };
        // As in the program.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        let thread = std::thread::spawn(move || runtime.block_on(run));
        for event in lists {
            events.blocking_send(Received::now(event)).expect("the loop runs");
        }
        let adopting = first_sync.recv_timeout(PATIENCE).expect("a first sync");
        assert!(commits.try_recv().is_err(), "the tables were complete: there was nothing to commit");
        (Self { events, commits, thread, shutdown }, adopting)
    }

    /// Hands an event to the loop.
    pub fn send(&self, event: Event) {
        self.events.blocking_send(Received::now(event)).expect("the loop runs");
    }

    /// The next commit.
    pub fn next_commit(&self) -> Commit {
        self.commits.recv_timeout(PATIENCE).expect("a commit")
    }

    /// The commits until there was none for a while: what is left of changes, and what waits for packets on their way. Its time is none.
    pub fn settle(&self) -> Run {
        let cpu = cpu_of_the_others();
        let mut run = Run::default();
        while let Ok(commit) = self.commits.recv_timeout(SETTLED) {
            run.committing += commit.ended - commit.started;
            run.operations += commit.operations;
            run.bytes += commit.bytes;
            run.commits += 1;
        }
        run.cpu = cpu_of_the_others().saturating_sub(cpu);
        run
    }

    /// Sends events at once and waits for the commit with which they are done.
    pub fn run(&self, events: Vec<Event>, mut done: impl FnMut(&Commit) -> bool) -> Run {
        let cpu = cpu_of_the_others();
        let started = Instant::now();
        events.into_iter().for_each(|event| self.send(event));
        let mut run = Run::default();
        loop {
            let commit = self.next_commit();
            run.time = commit.ended - started;
            run.committing += commit.ended - commit.started;
            run.operations += commit.operations;
            run.bytes += commit.bytes;
            run.commits += 1;
            if done(&commit) {
                run.cpu = cpu_of_the_others().saturating_sub(cpu);
                return run;
            }
        }
    }

    /// Ends the loop; its backend, and the cluster as it saw it last.
    fn stop(self) -> (B, Cluster) {
        self.shutdown.cancel();
        self.thread.join().expect("the loop ends")
    }
}
