//! The whole pipeline at several sizes, in network namespaces of its own. Needs root.
//!
//! For each size there are two processes under measurement:
//!
//! - the real program follows manifests ([`whole`]): its start, a restart over filled tables, its memory;
//! - this program, started once more, runs the real loop on the real kernel and feeds it events ([`looped`]): each kind of change,
//!   a sustained load, and before that the pipeline step by step ([`stages`]).
//!
//! ```text
//! cargo bench --bench scale [-- [OPTION…] [SIZE…]]      as root
//!
//! SIZE               Services, or Services x endpoints: 1000 or 5000x50; default: 1000 10000 25000 50000 100000
//!                    200000
//! --load SECONDS     how long the sustained load lasts; default: 20, and 0 leaves it out
//! --backend NAME     netlink or nft; default: netlink
//! --out FOLDER       where scale.json and the plots go; default: target/scale
//! --add              keep the sizes that FOLDER/scale.json has already, but for those measured now
//! --render           measure nothing: print what FOLDER/scale.json has
//! --docs             also write the tables of docs/performance.md, and the plots beside it
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

#[path = "../common/mod.rs"]
mod common;
mod live;
mod load;
mod looped;
mod metered;
mod options;
mod plot;
mod plots;
mod report;
mod results;
mod scenarios;
mod stages;
mod whole;

use std::process::{Command, Stdio};

use common::cluster::Size;
use common::machine::Machine;
use common::{cluster, docs};
use indicatif::{ProgressBar, ProgressStyle};
use options::Options;
use results::{InProcess, OfSize, Results};

fn main() {
    let options = Options::parse(std::env::args().skip(1)).unwrap_or_else(|wrong| panic!("{wrong}"));
    if let Some(size) = options.in_process {
        return println!("{}", serde_json::to_string(&in_process(size, &options)).expect("figures"));
    }
    let mut results =
        if options.render || options.add { Results::read(&options.out) } else { Results::new(Machine::this()) };
    if !options.render {
        results.machine = Machine::this();
        for size in &options.sizes {
            results.put(measure(*size, &options));
            results.write(&options.out);
        }
    }
    println!("{}\n", results.machine);
    println!("{}", report::everything(&results));
    plots::write(&results, &options.out);
    if options.docs {
        report::write_docs(&results);
        plots::write(&results, &docs::plots());
    }
}

/// Everything about one size.
fn measure(size: Size, options: &Options) -> OfSize {
    let folder = tempfile::tempdir().expect("a folder");
    let progress = progress(size);
    progress.set_message("writing manifests");
    cluster::write_all(folder.path(), size);
    let whole = whole::measure(folder.path(), size, options, &progress);
    progress.finish_and_clear();
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--in-process", &format!("{}x{}", size.services, size.endpoints)])
        .args(["--load", &options.load_seconds.to_string(), "--backend", &options.backend])
        .arg("--folder")
        .arg(folder.path())
        .stderr(Stdio::inherit())
        .output()
        .expect("this program runs");
    assert!(output.status.success(), "{size}: {}", output.status);
    let in_process: InProcess = serde_json::from_slice(&output.stdout).expect("figures");
    OfSize { size, whole, in_process }
}

/// The loop at one size, in a process of its own, so that neither memory nor processor time is somebody else's.
fn in_process(size: Size, options: &Options) -> InProcess {
    common::namespace::leave();
    let progress = progress(size);
    progress.set_message("reading manifests");
    let folder = options.folder.as_ref().expect("--in-process needs --folder");
    let events = cluster::load(folder);
    let figures = if options.backend == "nft" {
        let open = async || pointsman::apply::Nft::find(&common::nft()).await.expect("nft is there");
        looped::measure(open, events, size, options, &progress)
    } else {
        let open = async || pointsman::apply::Netlink::open().expect("netlink works");
        looped::measure(open, events, size, options, &progress)
    };
    progress.finish_and_clear();
    figures
}

/// What is being done, on a terminal.
fn progress(size: Size) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}").expect("a template");
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(size.to_string());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}
