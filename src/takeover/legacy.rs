//! iptables-legacy: rules that the kernel keeps outside of nf_tables, reached through iptables' own programs.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::program;
use super::ruleset::Ruleset;
use super::selection::Selection;
use crate::dataplane::Family;

/// The legacy rules of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// The family.
    pub family: Family,
    /// What is there.
    pub ruleset: Ruleset<String>,
    /// The program that changes it.
    restore: PathBuf,
}

/// Reads the legacy rules of a family; none if there are none.
///
/// # Errors
///
/// Why they cannot be looked at, and what helps.
pub(super) async fn find(family: Family) -> Result<Option<Legacy>, String> {
    let (names, iptables) = match family {
        Family::Ip => ("/proc/net/ip_tables_names", "iptables"),
        Family::Ip6 => ("/proc/net/ip6_tables_names", "ip6tables"),
    };
    // The kernel has no table before somebody uses it, and looking with iptables would be such a use.
    let tables = match std::fs::read_to_string(names) {
        Ok(tables) => tables,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!(
                "whether there are legacy {family} tables cannot be seen: {names}: {error}. Run it as root"
            ));
        }
    };
    let tables: Vec<&str> = tables.split_whitespace().collect();
    if tables.is_empty() {
        return Ok(None);
    }
    let Some((save, restore)) = programs(iptables).await else {
        return Err(format!(
            "the kernel has legacy {family} tables ({}), which may hold rules of kube-proxy, and {iptables}-legacy-save is not \
             there to look into them: run `pointsman --cleanup=kube-proxy` where it is",
            tables.join(", ")
        ));
    };
    let saved = program::run(&save, &[], String::new()).await?;
    Ok(Some(Legacy { family, ruleset: Ruleset::parse(&saved), restore }))
}

/// The programs that save and restore legacy rules: those that are called so, or else the plain ones if they are of that kind.
async fn programs(iptables: &str) -> Option<(PathBuf, PathBuf)> {
    let pair = |name: &str| {
        let find = |verb: &str| program::look_for(format!("{name}-{verb}"));
        Some((find("save")?, find("restore")?))
    };
    if let Some(pair) = pair(&format!("{iptables}-legacy")) {
        return Some(pair);
    }
    let plain = pair(iptables)?;
    let version = program::run(&plain.0, &["--version"], String::new()).await.ok()?;
    (!version.contains("nf_tables")).then_some(plain)
}

impl Legacy {
    /// Removes what was selected: of each table all or nothing.
    ///
    /// # Errors
    ///
    /// What the program says.
    pub(super) async fn remove(&self, selections: &[Selection<String>]) -> Result<(), String> {
        // The lock is shared by all programs of iptables; --wait is for those that hold it.
        program::run(&self.restore, &["--noflush", "--wait=10"], input(selections)).await.map(|_| ())
    }
}

/// What iptables-restore is told: the jumps, as iptables-save printed them, and chains with names that are kube-proxy's.
fn input(selections: &[Selection<String>]) -> String {
    let mut text = String::new();
    let mut put = |words: std::fmt::Arguments<'_>| {
        // A String takes everything.
        let _ = text.write_fmt(words);
    };
    for selection in selections {
        put(format_args!("*{}\n", selection.table));
        for (_, rule) in &selection.jumps {
            if let Some(rule) = rule.strip_prefix("-A ") {
                put(format_args!("-D {rule}\n"));
            }
        }
        // First all rules, then all chains: chains that are jumped to cannot be deleted.
        selection.chains.iter().for_each(|chain| put(format_args!("-F {chain}\n")));
        selection.chains.iter().for_each(|chain| put(format_args!("-X {chain}\n")));
        put(format_args!("COMMIT\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takeover::selection::select;

    #[test]
    fn jumps_go_first_then_rules_then_chains() {
        let saved = "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n\
                     -A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
                     -A KUBE-SERVICES -j KUBE-SVC-A\n*filter\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n";
        assert_eq!(
            input(&select(&Ruleset::parse(saved))),
            "*filter\n-F KUBE-PROXY-CANARY\n-X KUBE-PROXY-CANARY\nCOMMIT\n\
             *nat\n-D OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -F KUBE-SERVICES\n-F KUBE-SVC-A\n-X KUBE-SERVICES\n-X KUBE-SVC-A\nCOMMIT\n"
        );
    }
}
