//! The program itself beside the simulator: it follows the API server of the tests over HTTP, and programs a real kernel in a network
//! namespace, while a story happens to both. After each quiet time the kernel must hold what the naive models say, and connections must
//! arrive where they say.
//!
//! Of a story all happens that can be made to happen: changes of objects, watches that end, break off or stall, compaction, a restored
//! etcd, other programs that write to the tables, `kill -9`, restarts with other options. What the kernel itself does wrong in a story is
//! left out, and so is the clock.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman::apply::Backend;
use pointsman::dataplane::{Family, LocalPods, Packet, Protocol};
use pointsman::diff::Acknowledged;
use pointsman::state::{Kind, ObjectName};

use crate::agree::{self, RealKernel};
use crate::api::Server;
use crate::common::NODE;
use crate::conformance::{alone, lacks, nft};
use crate::coverage::Coverage;
use crate::edits::edit;
use crate::kernel::ForeignWrite;
use crate::law;
use crate::objects::{self, Object, Stored};
use crate::process::Process;
use crate::quiet::check_held;
use crate::random::Random;
use crate::story::{Act, Settings, Step, Story, settings};
use crate::testing::apiserver::{ApiServer, Fault, Resource, Verb};

/// The longest time until everything is programmed after the last fault: a watch that lost its server pauses between attempts.
const QUIET: Duration = Duration::from_secs(60);
/// How long to wait between two looks at the tables.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause after a step.
const MAX_PAUSE: Duration = Duration::from_millis(60);
/// How many connections are opened after each quiet time.
const CONNECTIONS: usize = 6;

/// What was done in all stories.
#[derive(Default)]
struct Counts {
    changes: usize,
    foreign: usize,
    starts: usize,
    quiet: usize,
    connections: usize,
    longest: Duration,
}

/// Lets the program live through so many stories. False if it does not agree with one of them.
pub fn live(first: u64, seeds: u64, steps: usize) -> bool {
    let mut counts = Counts::default();
    for seed in first..first + seeds {
        let story = Story::new(seed, steps);
        let lived = alone(|| async {
            let mut node = Node::new(&story.settings).await?;
            let lived = node.live(&story, &mut counts).await;
            Ok::<_, String>(lived.map_err(|why| format!("{why}\n--- the log of the program\n{}", node.log())))
        });
        match lived.unwrap_or_else(|| Err("no network namespace".to_owned())) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                println!("seed {seed}: {why}");
                return false;
            }
            Err(why) => {
                lacks(why);
                return true;
            }
        }
    }
    let Counts { changes, foreign, starts, quiet, connections, longest } = counts;
    println!(
        "the program agrees over {seeds} seeds from {first} on: {changes} changes of objects, {foreign} writes of other programs, {starts} \
         starts, {quiet} quiet times (the longest was waited for {longest:.1?}), {connections} connections"
    );
    true
}

/// A node with the program on it.
struct Node {
    kernel: RealKernel,
    api: ApiServer,
    /// What the API server has, as the simulator keeps it.
    server: Server,
    sent: BTreeMap<(usize, ObjectName), Stored>,
    settings: Settings,
    random: Random,
    program: Option<Child>,
    folder: tempfile::TempDir,
    /// What another program saved.
    saved: Option<String>,
}

impl Node {
    async fn new(settings: &Settings) -> Result<Self, String> {
        Command::new(nft()).arg("-V").output().map_err(|error| format!("nft: {error}"))?;
        let host = agree::with_pods(settings.packets.host());
        let kernel = RealKernel::new(host).await.map_err(|error| error.to_string())?;
        let mut node = Self {
            kernel,
            api: ApiServer::start(),
            server: Server::default(),
            sent: BTreeMap::new(),
            settings: settings.clone(),
            random: Random::new(0),
            program: None,
            folder: tempfile::tempdir().expect("a folder"),
            saved: None,
        };
        node.api.write_kubeconfig(node.folder.path());
        node.server.put(Object::Node(Arc::new(objects::node(&mut node.random))), true);
        Ok(node)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn live(&mut self, story: &Story, counts: &mut Counts) -> Result<(), String> {
        self.start(counts);
        for (n, step) in story.steps.iter().enumerate() {
            self.step(step, story, counts).await.map_err(|why| format!("step {n}, {:?}: {why}", step.act))?;
        }
        self.settle(counts).await
    }

    async fn step(&mut self, step: &Step, story: &Story, counts: &mut Counts) -> Result<(), String> {
        self.random = Random::new(step.luck);
        let random = &mut self.random;
        let resource = |random: &mut Random| *random.pick(&Resource::ALL);
        match step.act {
            Act::Cut => {
                let fault = Fault::CutAfter(random.index(4));
                self.api.fail(resource(random), Some(Verb::Watch), fault, Some(1));
            }
            Act::Stall => self.api.fail(resource(random), Some(Verb::Watch), Fault::Stall, Some(1)),
            Act::CutAll => self.cut_all(),
            Act::Compact => self.api.compact(),
            Act::BreakList => {
                let (resource, fault) = (resource(random), Fault::CutAfter(random.index(4)));
                self.api.compact();
                self.api.fail(resource, Some(Verb::List), fault, Some(1));
                self.api.fail(resource, Some(Verb::StreamingList), fault, Some(1));
                self.cut_all();
            }
            Act::RestoreEtcd => {
                self.server.restore(random.below(30));
                self.send(counts);
                self.api.compact();
                self.cut_all();
            }
            Act::Save => self.saved = Some(self.nft(&["list", "ruleset"], "")?),
            Act::Foreign(write) => self.foreign(write, counts).await?,
            Act::Fight => {
                for _ in 0..3 {
                    self.foreign(ForeignWrite::FlushTable, counts).await?;
                    std::thread::sleep(PAUSE);
                }
            }
            Act::Noise => drop(self.nft(&["-f", "-"], "add table ip other\ndelete table ip other\n")?),
            Act::Crash => {
                self.kill();
                self.start(counts);
            }
            Act::Reconfigure => {
                let has_external_ip = self.settings.packets.has_external_ip;
                self.settings = settings(random);
                self.settings.packets.has_external_ip = has_external_ip;
                self.kill();
                self.start(counts);
            }
            Act::Settle => return self.settle(counts).await,
            // What the kernel does wrong, and the clock; and what takes place at each quiet time.
            _ => edit(step.act, story.size, &mut self.server, random, &mut Coverage::default()),
        }
        self.send(counts);
        std::thread::sleep(Duration::from_micros(step.pause).min(MAX_PAUSE));
        Ok(())
    }

    /// Sends what changed to the API server of the tests.
    fn send(&mut self, counts: &mut Counts) {
        let all = Kind::ALL.into_iter().flat_map(|kind| self.server.objects(kind));
        let key = |stored: &Stored| (stored.object.kind() as usize, stored.object.name().clone());
        let now: BTreeMap<_, _> = all.map(|stored| (key(stored), stored.clone())).collect();
        for (key, sent) in &self.sent {
            if now.get(key).is_none_or(|now| now.uid != sent.uid) {
                // Both list the kinds in the same order.
                self.api.delete(Resource::ALL[key.0], &key.1.to_string());
                counts.changes += 1;
            }
        }
        for (key, now) in &now {
            if self.sent.get(key) != Some(now) {
                self.api.apply(now.json());
                counts.changes += 1;
            }
        }
        self.sent = now;
    }

    fn cut_all(&mut self) {
        self.api.down();
        self.api.up();
    }

    /// Another program writes to the tables.
    async fn foreign(&mut self, write: ForeignWrite, counts: &mut Counts) -> Result<(), String> {
        let family = *self.random.pick(&Family::ALL);
        let table = |family: Family| format!("table {} pointsman\n", if family == Family::Ip { "ip" } else { "ip6" });
        counts.foreign += 1;
        // There may be nothing to write to: then nft or the kernel refuses.
        match write {
            ForeignWrite::FlushTable => {
                let _ = self.nft(&["-f", "-"], &format!("delete {}", table(family)));
            }
            ForeignWrite::FlushRuleset => drop(self.nft(&["flush", "ruleset"], "")?),
            ForeignWrite::Restore => {
                if let Some(saved) = self.saved.clone() {
                    self.nft(&["-f", "-"], &format!("flush ruleset\n{saved}"))?;
                }
            }
            edit => {
                let tables = self.kernel.netlink.read(&[family]).await.map_err(|error| error.to_string())?;
                let edited = edit.operations(family, tables.get(family), &mut self.random);
                if let Some((operations, _)) = edited {
                    let _ = self.kernel.netlink.commit(&operations).await;
                }
            }
        }
        Ok(())
    }

    fn nft(&self, words: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(nft())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nft starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // It may end before it has read everything.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("nft ends");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("nft {words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn start(&mut self, counts: &mut Counts) {
        self.send(counts);
        counts.starts += 1;
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        let kubeconfig = self.folder.path().join("kubeconfig");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.args(["--kubeconfig", kubeconfig.to_str().expect("letters"), "--hostname-override", NODE]);
        command.args(["--watch-timeout", "3", "--log-level", "info"]).args(options(&self.settings));
        command.env_remove("KUBECONFIG").env_remove("POINTSMAN_LOG").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        self.program = Some(command.spawn().expect("the program starts"));
    }

    fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().expect("a child can be killed");
            program.wait().expect("a child can be awaited");
        }
    }

    /// Ends all faults, waits until the kernel holds what it should, and opens connections.
    async fn settle(&mut self, counts: &mut Counts) -> Result<(), String> {
        self.api.heal();
        // An object that cannot be read counts as it was when it could: which version that is depends on what was received.
        let unreadable: Vec<Object> = Kind::ALL
            .into_iter()
            .flat_map(|kind| self.server.objects(kind))
            .filter(|stored| !stored.readable)
            .map(|stored| stored.object.clone())
            .collect();
        unreadable.into_iter().for_each(|object| self.server.put(object, true));
        if self.server.objects(Kind::Node).next().is_none() {
            self.server.put(Object::Node(Arc::new(objects::node(&mut self.random))), true);
        }
        self.send(counts);
        // A watch that stalls is told so.
        self.cut_all();
        let begin = Instant::now();
        let informed = self.informed();
        let model = &informed.known;
        loop {
            let wrong = match self.compare(&informed).await {
                Ok(()) => break,
                Err(wrong) => wrong,
            };
            if let Some(ended) = self.program.as_mut().and_then(|program| program.try_wait().ok().flatten()) {
                return Err(format!("the program ended: {ended}"));
            }
            if begin.elapsed() > QUIET {
                return Err(format!("after a quiet time {wrong}\n{}", self.facts()));
            }
            std::thread::sleep(PAUSE);
        }
        counts.longest = counts.longest.max(begin.elapsed());
        counts.quiet += 1;
        for _ in 0..CONNECTIONS {
            let packet = law::packet(&mut self.random, model);
            let packet = Packet { iif: None, saddr: agree::source(packet.daddr), protocol: Protocol::Tcp, ..packet };
            if law::is_judged(model, &packet) {
                self.kernel.connect(&packet, &model.outcomes(&packet))?;
                counts.connections += 1;
            }
        }
        Ok(())
    }

    /// What there is, for a failure: what the program says of itself, and the objects.
    fn facts(&self) -> String {
        let status = Command::new(env!("CARGO_BIN_EXE_pointsman")).arg("status").output().expect("the program starts");
        let objects = self.sent.values().map(|stored| stored.json().to_string());
        format!("{}\n{}", String::from_utf8_lossy(&status.stdout), objects.collect::<Vec<_>>().join("\n"))
    }

    /// A process in memory that is told what the API server has.
    fn informed(&self) -> Process {
        let mut process = Process::new(&self.settings);
        process.known.host = agree::with_pods(self.settings.packets.host());
        for event in self.server.lists(process.known.host.clone()) {
            process.fold(event, false);
        }
        process.engine.compile();
        process
    }

    /// Whether the kernel holds what that process knows, and the program says so.
    async fn compare(&mut self, informed: &Process) -> Result<(), String> {
        let tables = self.kernel.netlink.read(&Family::ALL).await.map_err(|error| error.to_string())?;
        check_held(&Acknowledged::from(tables), &informed.known, &informed.engine)?;
        match self.state().as_deref() {
            Some("SYNCED") => Ok(()),
            state => Err(format!("the program says {state:?}")),
        }
    }

    /// The word of the program for its state.
    fn state(&self) -> Option<String> {
        let mut stream = TcpStream::connect("127.0.0.1:10249").ok()?;
        stream.write_all(b"GET /statusz HTTP/1.0\r\nAccept: application/json\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let page: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        Some(page["state"].as_str()?.to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What an operator gives the program.
fn options(settings: &Settings) -> Vec<String> {
    let packets = &settings.packets;
    let list = |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut options = match &packets.local_pods {
        LocalPods::Unknown => vec![],
        LocalPods::Networks(networks) => {
            // The first of each family counts, and the program takes no other.
            let first = |v4| networks.iter().copied().find(|network| network.addr().is_ipv4() == v4);
            let of_families: Vec<_> = [true, false].into_iter().filter_map(first).collect();
            vec!["--cluster-cidr".to_owned(), list(&of_families)]
        }
        LocalPods::Interface(name) => {
            let prefix = name.trim_end_matches('*');
            let words = ["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", prefix];
            words.map(str::to_owned).to_vec()
        }
    };
    let mut node_ports = Vec::new();
    if packets.node_ports.primary {
        node_ports.push("primary".to_owned());
    }
    if !packets.node_ports.localhost.is_empty() {
        node_ports.push("localhost".to_owned());
    }
    node_ports.extend(packets.node_ports.networks.iter().map(ToString::to_string));
    if node_ports.is_empty() {
        node_ports = vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    }
    options.extend(["--nodeport-addresses".to_owned(), node_ports.join(",")]);
    options.extend(["--masquerade-bit".to_owned(), packets.masquerade_bit.to_string()]);
    if packets.masquerade_all {
        options.push("--masquerade-all".to_owned());
    }
    if packets.scope().options.counters {
        options.push("--counters".to_owned());
    }
    let min_sync = settings.min_sync_period / 1_000;
    options.extend(["--iptables-min-sync-period".to_owned(), format!("{min_sync}ms")]);
    options
}
