//! The rules of iptables-legacy, which the kernel keeps outside of nf_tables: read and removed with iptables' own programs.

use std::fmt::Write;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::program;
use super::ruleset::IptablesRuleset;
use super::selection::IptablesSelection;
use crate::dataplane::Family;

/// The rules of iptables-legacy of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyIptables {
    /// The family.
    pub family: Family,
    /// All rules that exist.
    pub ruleset: IptablesRuleset<String>,
    /// The program that changes them, iptables-legacy-restore.
    restore: PathBuf,
}

/// Reads the legacy rules of a family; `None` if the kernel has no legacy table.
///
/// # Errors
///
/// Why they cannot be read, and what to do.
pub(super) async fn find(family: Family) -> Result<Option<LegacyIptables>, String> {
    let (names, iptables) = match family {
        Family::Ip => ("/proc/net/ip_tables_names", "iptables"),
        Family::Ip6 => ("/proc/net/ip6_tables_names", "ip6tables"),
    };
    // The kernel creates a table at its first use, and listing it with iptables would be one.
    let tables = match std::fs::read_to_string(names) {
        Ok(tables) => tables,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!(
                "cannot see whether there are legacy {family} tables: {names}: {error}. Run it as root"
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
             installed to list them: run `pointsman --cleanup=kube-proxy` where it is",
            tables.join(", ")
        ));
    };
    let saved = program::run(&save, &[], String::new()).await?;
    Ok(Some(LegacyIptables { family, ruleset: IptablesRuleset::parse(&saved), restore }))
}

/// The programs that save and restore legacy rules: those with `legacy` in their names, or else the plain ones if they are not
/// of iptables-nft.
async fn programs(iptables: &str) -> Option<(PathBuf, PathBuf)> {
    let pair = |name: &str| {
        let find = |verb: &str| program::find(format!("{name}-{verb}"));
        Some((find("save")?, find("restore")?))
    };
    if let Some(pair) = pair(&format!("{iptables}-legacy")) {
        return Some(pair);
    }
    let plain = pair(iptables)?;
    let version = program::run(&plain.0, &["--version"], String::new()).await.ok()?;
    (!version.contains("nf_tables")).then_some(plain)
}

impl LegacyIptables {
    /// Removes what was selected. Removes the selection of a table as a whole, or nothing.
    ///
    /// # Errors
    ///
    /// What the program prints.
    pub(super) async fn remove(&self, selections: &[IptablesSelection<String>]) -> Result<(), String> {
        // All programs of iptables share a lock; --wait is the time that another may hold it.
        program::run(&self.restore, &["--noflush", "--wait=10"], restore_input(selections)).await.map(|_| ())
    }
}

/// The input of iptables-restore: deletes the jumps, which are as iptables-save printed them, and kube-proxy's chains.
fn restore_input(selections: &[IptablesSelection<String>]) -> String {
    let mut text = String::new();
    let mut put = |words: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = text.write_fmt(words);
    };
    for selection in selections {
        put(format_args!("*{}\n", selection.table));
        for (_, rule) in &selection.jumps {
            if let Some(rule) = rule.strip_prefix("-A ") {
                put(format_args!("-D {rule}\n"));
            }
        }
        // All rules before all chains: a chain that a rule jumps to cannot be deleted.
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
    fn jumps_are_deleted_first_then_rules_then_chains() {
        let saved = "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n\
                     -A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
                     -A KUBE-SERVICES -j KUBE-SVC-A\n*filter\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n";
        assert_eq!(
            restore_input(&select(&IptablesRuleset::parse(saved))),
            "*filter\n-F KUBE-PROXY-CANARY\n-X KUBE-PROXY-CANARY\nCOMMIT\n\
             *nat\n-D OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -F KUBE-SERVICES\n-F KUBE-SVC-A\n-X KUBE-SERVICES\n-X KUBE-SVC-A\nCOMMIT\n"
        );
    }
}
