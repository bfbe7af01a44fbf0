//! This process's out-of-memory score: how likely the kernel is to kill it when memory is short.

use std::fs;
use std::path::Path;

/// Writes this process's `oom_score_adj` below `root` (`/`), if it has another value. A failure is only logged: lowering the score
/// takes `CAP_SYS_RESOURCE`, and nothing depends on it.
pub fn set_score(root: &Path, wanted: i64) {
    let file = root.join("proc/self/oom_score_adj");
    let present = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i64>().ok());
    if present == Some(wanted) {
        return;
    }
    if let Err(error) = fs::write(&file, wanted.to_string()) {
        tracing::info!(%error, wanted, present, "cannot set oomScoreAdj and leave it as it is; setting it takes CAP_SYS_RESOURCE");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_written_and_a_failure_does_no_harm() {
        let root = tempfile::tempdir().unwrap();
        set_score(root.path(), -999);
        let file = root.path().join("proc/self/oom_score_adj");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "0\n").unwrap();
        set_score(root.path(), -999);
        assert_eq!(fs::read_to_string(&file).unwrap(), "-999");
    }
}
