use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// Longer than any change takes to be noticed.
const LONG: Duration = Duration::from_secs(10);
/// Longer than a change that is none takes to be looked at.
const WHILE: Duration = Duration::from_millis(600);

struct File {
    folder: tempfile::TempDir,
    follower: Follower,
}

impl File {
    /// A followed file `config`, which `write` puts into a folder.
    async fn new(write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let mut follower = Follower::new(&folder.path().join("config")).unwrap();
        assert_eq!(follower.changed().await.unwrap(), "old");
        Self { folder, follower }
    }

    async fn plain() -> Self {
        Self::new(|folder| fs::write(folder.join("config"), "old").unwrap()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn reads(&mut self, content: &str) {
        let changed = timeout(LONG, self.follower.changed()).await.expect("the change is noticed");
        assert_eq!(changed.unwrap(), content);
    }

    async fn stays(&mut self) {
        let changed = timeout(WHILE, self.follower.changed()).await;
        assert!(changed.is_err(), "{changed:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_written_anew_has_changed_once_it_is_complete() {
    let mut file = File::plain().await;
    fs::write(file.path("config"), "").unwrap();
    fs::write(file.path("config"), "new").unwrap();
    file.reads("new").await;
    file.stays().await;
    fs::OpenOptions::new()
        .append(true)
        .open(file.path("config"))
        .and_then(|mut f| std::io::Write::write_all(&mut f, b"er"))
        .unwrap();
    file.reads("newer").await;
}

#[tokio::test]
async fn a_file_that_is_replaced_again_and_again_goes_on_being_followed() {
    let mut file = File::plain().await;
    for content in ["one", "two", "three"] {
        fs::write(file.path("next"), content).unwrap();
        fs::rename(file.path("next"), file.path("config")).unwrap();
        file.reads(content).await;
    }
}

#[tokio::test]
async fn what_leaves_the_content_alone_is_no_change() {
    let mut file = File::plain().await;
    fs::write(file.path("config"), "old").unwrap();
    fs::write(file.path("another"), "new").unwrap();
    file.stays().await;
}

/// As a kubelet mounts a ConfigMap: `config` leads to `..data/config`, and `..data` to a folder of this version.
fn mount(folder: &Path, version: &str, content: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("config"), content).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn the_swap_of_a_mounted_configmap_is_noticed_each_time() {
    let mut file = File::new(|folder| {
        mount(folder, "..1", "old");
        symlink("..data/config", folder.join("config")).unwrap();
    })
    .await;
    for (version, content) in [("..2", "new"), ("..3", "newer"), ("..4", "newest")] {
        mount(file.folder.path(), version, content);
        file.reads(content).await;
    }
    mount(file.folder.path(), "..5", "newest");
    file.stays().await;
}

#[tokio::test]
async fn a_change_behind_a_link_is_noticed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real");
    fs::write(&target, "old").unwrap();
    let mut file = File::new(|folder| symlink(&target, folder.join("config")).unwrap()).await;
    fs::write(&target, "new").unwrap();
    file.reads("new").await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_of_once_and_noticed_when_it_is_back() {
    let mut file = File::plain().await;
    fs::remove_file(file.path("config")).unwrap();
    let gone = timeout(LONG, file.follower.changed()).await.expect("noticed");
    assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    fs::write(file.path("another"), "x").unwrap();
    file.stays().await;
    fs::write(file.path("config"), "back").unwrap();
    file.reads("back").await;
}
