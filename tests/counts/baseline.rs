//! The counts of an earlier version, in a file of their own: a table that a reviewer can read as a diff.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// How many times the allocations and instructions of the baseline are allowed.
const MAX_ALLOCATION_RATIO: f64 = 1.02;
const MAX_INSTRUCTION_RATIO: f64 = 1.05;

/// The counts of one change at one size.
#[derive(Clone, Debug)]
pub struct Row {
    /// The change.
    pub name: String,
    /// The number of Services.
    pub services: u32,
    /// Operations sent.
    pub operations: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Allocations.
    pub allocations: u64,
    /// Instructions, if they were counted.
    pub instructions: Option<u64>,
    /// Whether nothing may be sent.
    pub no_op: bool,
    /// Whether it may cost as much as the cluster is large.
    pub walks: bool,
}

/// The file's contents.
pub struct Baseline {
    /// The compiler that wrote the last two columns.
    compiler: String,
    /// By name and size: operations, bytes, allocations, instructions.
    rows: BTreeMap<(String, u32), [u64; 4]>,
}

impl Baseline {
    /// The file, or nothing.
    pub fn read() -> Self {
        let text = fs::read_to_string(path()).unwrap_or_default();
        let compiler = text.lines().find_map(|line| line.strip_prefix("# compiler: ")).unwrap_or_default().to_owned();
        Self { compiler, rows: text.lines().filter(|line| !line.starts_with('#')).map(row).collect() }
    }

    /// The same with these rows.
    pub fn replace(mut self, rows: &[Row]) -> Self {
        let mut old = std::mem::take(&mut self.rows);
        for row in rows {
            let key = (row.name.clone(), row.services);
            let before = old.remove(&key).map_or(0, |[.., instructions]| instructions);
            let instructions = row.instructions.unwrap_or(before);
            self.rows.insert(key, [row.operations, row.bytes, row.allocations, instructions]);
        }
        self.compiler = compiler();
        self
    }

    /// Writes the file.
    pub fn write(&self) {
        let mut text = format!(
            "# What single changes cost: tests/counts. Written by POINTSMAN_UPDATE_COUNTS=1 cargo test --test counts -- --instructions\n\
             # compiler: {}\n\
             # change | Services | operations | bytes | allocations | instructions\n",
            self.compiler
        );
        for ((name, services), [operations, bytes, allocations, instructions]) in &self.rows {
            text += &format!("{name} | {services} | {operations} | {bytes} | {allocations} | {instructions}\n");
        }
        fs::write(path(), text).expect("the file can be written");
    }

    /// The rows that differ from the baseline.
    pub fn compare(&self, rows: &[Row]) -> Vec<String> {
        let mut wrong = Vec::new();
        let same_compiler = self.compiler == compiler();
        if !same_compiler {
            println!("the baseline is of {}: allocations and instructions are not compared with it", self.compiler);
        }
        for row in rows {
            let Some([operations, bytes, allocations, instructions]) = self.rows.get(&(row.name.clone(), row.services))
            else {
                wrong.push(format!("{row}: not in the baseline"));
                continue;
            };
            if (row.operations, row.bytes) != (*operations, *bytes) {
                wrong.push(format!("{row}: the baseline has {operations} operations in {bytes} bytes"));
            }
            let above = |now: u64, before: u64, tolerance: f64| now as f64 > before as f64 * tolerance;
            if same_compiler && above(row.allocations, *allocations, MAX_ALLOCATION_RATIO) {
                wrong.push(format!("{row}: the baseline has {allocations} allocations"));
            }
            if same_compiler && row.instructions.is_some_and(|now| above(now, *instructions, MAX_INSTRUCTION_RATIO)) {
                wrong.push(format!("{row}: the baseline has {instructions} instructions"));
            }
        }
        wrong
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, services, operations, bytes, allocations, .. } = self;
        write!(f, "{name}, {services} Services: {operations} operations, {bytes} bytes, {allocations} allocations")?;
        self.instructions.map_or(Ok(()), |instructions| write!(f, ", {instructions} instructions"))
    }
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "counts", "baseline.txt"].iter().collect()
}

fn row(line: &str) -> ((String, u32), [u64; 4]) {
    let cells: Vec<&str> = line.split(" | ").collect();
    let [name, services, numbers @ ..] = &cells[..] else { panic!("baseline.txt: {line:?}") };
    let number = |cell: &&str| cell.trim().parse().unwrap_or_else(|_| panic!("baseline.txt: {line:?}"));
    let numbers: Vec<u64> = numbers.iter().map(number).collect();
    let services = services.parse().expect("a number of Services");
    (((*name).to_owned(), services), numbers.try_into().expect("four numbers"))
}

/// The compiler and its profile, for which the counts of code hold.
fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!("{}, {profile}, {}", String::from_utf8_lossy(&version).trim(), std::env::consts::ARCH)
}
