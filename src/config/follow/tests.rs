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

    /// What the follower tells when this happens while it waits; nothing if it goes on waiting.
    async fn told(&mut self, patience: Duration, happens: impl FnOnce(&Path)) -> Option<std::io::Result<String>> {
        let folder = self.folder.path().to_owned();
        let told = timeout(patience, self.follower.changed());
        let later = async {
            sleep(Duration::from_millis(100)).await;
            happens(&folder);
        };
        tokio::join!(told, later).0.ok()
    }

    async fn reads(&mut self, content: &str, happens: impl FnOnce(&Path)) {
        assert_eq!(self.told(LONG, happens).await.expect("the change is noticed").unwrap(), content);
    }

    async fn stays(&mut self, happens: impl FnOnce(&Path)) {
        let told = self.told(WHILE, happens).await;
        assert!(told.is_none(), "{told:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_written_anew_has_changed_once_it_is_complete() {
    let mut file = File::plain().await;
    let write = |folder: &Path| {
        fs::write(folder.join("config"), "").unwrap();
        fs::write(folder.join("config"), "new").unwrap();
    };
    file.reads("new", write).await;
    file.stays(|_| ()).await;
    let append = |folder: &Path| {
        let mut file = fs::OpenOptions::new().append(true).open(folder.join("config")).unwrap();
        std::io::Write::write_all(&mut file, b"er").unwrap();
    };
    file.reads("newer", append).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_again_and_again_goes_on_being_followed() {
    let mut file = File::plain().await;
    for content in ["one", "two", "three"] {
        let replace = |folder: &Path| {
            fs::write(folder.join("next"), content).unwrap();
            fs::rename(folder.join("next"), folder.join("config")).unwrap();
        };
        file.reads(content, replace).await;
    }
}

#[tokio::test]
async fn what_leaves_the_content_alone_is_no_change() {
    let mut file = File::plain().await;
    let write = |folder: &Path| {
        fs::write(folder.join("config"), "old").unwrap();
        fs::write(folder.join("another"), "new").unwrap();
    };
    file.stays(write).await;
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
        file.reads(content, |folder| mount(folder, version, content)).await;
    }
    file.stays(|folder| mount(folder, "..5", "newest")).await;
}

#[tokio::test]
async fn a_change_behind_a_link_is_noticed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real");
    fs::write(&target, "old").unwrap();
    let mut file = File::new(|folder| symlink(&target, folder.join("config")).unwrap()).await;
    file.reads("new", |_| fs::write(&target, "new").unwrap()).await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_of_once_and_noticed_when_it_is_back() {
    let mut file = File::plain().await;
    let gone = file.told(LONG, |folder| fs::remove_file(folder.join("config")).unwrap()).await.expect("noticed");
    assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    file.stays(|folder| fs::write(folder.join("another"), "x").unwrap()).await;
    file.reads("back", |folder| fs::write(folder.join("config"), "back").unwrap()).await;
}

#[tokio::test]
async fn the_links_of_folders_on_the_way_are_followed_too() {
    let versions = tempfile::tempdir().unwrap();
    for (version, content) in [("a", "old"), ("b", "new"), ("c", "newer")] {
        fs::create_dir(versions.path().join(version)).unwrap();
        fs::write(versions.path().join(version).join("file"), content).unwrap();
    }
    let point_to = |version: &str| {
        symlink(version, versions.path().join("next")).unwrap();
        fs::rename(versions.path().join("next"), versions.path().join("current")).unwrap();
    };
    point_to("a");
    let mut file =
        File::new(|folder| symlink(versions.path().join("current/file"), folder.join("config")).unwrap()).await;
    file.reads("new", |_| point_to("b")).await;
    file.reads("newer", |_| point_to("c")).await;
    file.reads("written", |_| fs::write(versions.path().join("c/file"), "written").unwrap()).await;
}

#[tokio::test]
async fn a_file_whose_folder_is_replaced_goes_on_being_followed() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("inner/config");
    fs::create_dir(outer.path().join("inner")).unwrap();
    fs::write(&path, "old").unwrap();
    let mut file = File { folder: outer, follower: Follower::new(&path).unwrap() };
    assert_eq!(file.follower.changed().await.unwrap(), "old");
    let replace = |folder: &Path| {
        fs::create_dir(folder.join("next")).unwrap();
        fs::write(folder.join("next/config"), "new").unwrap();
        fs::rename(folder.join("inner"), folder.join("gone")).unwrap();
        fs::rename(folder.join("next"), folder.join("inner")).unwrap();
    };
    file.reads("new", replace).await;
    file.reads("newer", |folder| fs::write(folder.join("inner/config"), "newer").unwrap()).await;
}
