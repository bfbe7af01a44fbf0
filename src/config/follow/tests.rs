use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// Longer than the follower needs to notice any change.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than the follower needs to look at a notice.
const LOOK_TIMEOUT: Duration = Duration::from_millis(600);

struct FollowedFile {
    folder: tempfile::TempDir,
    follower: FileFollower,
}

impl FollowedFile {
    /// A followed file `config` in a new folder, which `write` fills.
    async fn new(write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let mut follower = FileFollower::new(&folder.path().join("config")).unwrap();
        assert_eq!(follower.changed().await.unwrap(), "old");
        Self { folder, follower }
    }

    async fn plain() -> Self {
        Self::new(|folder| fs::write(folder.join("config"), "old").unwrap()).await
    }

    /// What the follower reports after `change`; none if it reports nothing in time.
    async fn report(&mut self, limit: Duration, change: impl FnOnce(&Path)) -> Option<std::io::Result<String>> {
        let folder = self.folder.path().to_owned();
        let report = timeout(limit, self.follower.changed());
        let later = async {
            sleep(Duration::from_millis(100)).await;
            change(&folder);
        };
        tokio::join!(report, later).0.ok()
    }

    async fn assert_reports(&mut self, content: &str, change: impl FnOnce(&Path)) {
        assert_eq!(self.report(NOTICE_TIMEOUT, change).await.expect("the change is noticed").unwrap(), content);
    }

    async fn assert_silent(&mut self, change: impl FnOnce(&Path)) {
        let report = self.report(LOOK_TIMEOUT, change).await;
        assert!(report.is_none(), "{report:?}");
    }
}

#[tokio::test]
async fn a_rewritten_file_is_reported_once_it_is_complete() {
    let mut file = FollowedFile::plain().await;
    let write = |folder: &Path| {
        fs::write(folder.join("config"), "").unwrap();
        fs::write(folder.join("config"), "new").unwrap();
    };
    file.assert_reports("new", write).await;
    file.assert_silent(|_| ()).await;
    let append = |folder: &Path| {
        let mut file = fs::OpenOptions::new().append(true).open(folder.join("config")).unwrap();
        std::io::Write::write_all(&mut file, b"er").unwrap();
    };
    file.assert_reports("newer", append).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_repeatedly_is_still_followed() {
    let mut file = FollowedFile::plain().await;
    for content in ["one", "two", "three"] {
        let replace = |folder: &Path| {
            fs::write(folder.join("next"), content).unwrap();
            fs::rename(folder.join("next"), folder.join("config")).unwrap();
        };
        file.assert_reports(content, replace).await;
    }
}

#[tokio::test]
async fn a_write_with_the_same_content_is_not_reported() {
    let mut file = FollowedFile::plain().await;
    let write = |folder: &Path| {
        fs::write(folder.join("config"), "old").unwrap();
        fs::write(folder.join("another"), "new").unwrap();
    };
    file.assert_silent(write).await;
}

/// Mounts a ConfigMap like a kubelet: `config` is a link to `..data/config`, and `..data` a link to the folder of this version.
fn mount(folder: &Path, version: &str, content: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("config"), content).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn each_swap_of_a_mounted_configmap_is_reported() {
    let mut file = FollowedFile::new(|folder| {
        mount(folder, "..1", "old");
        symlink("..data/config", folder.join("config")).unwrap();
    })
    .await;
    for (version, content) in [("..2", "new"), ("..3", "newer"), ("..4", "newest")] {
        file.assert_reports(content, |folder| mount(folder, version, content)).await;
    }
    file.assert_silent(|folder| mount(folder, "..5", "newest")).await;
}

#[tokio::test]
async fn a_change_behind_a_link_is_reported() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real");
    fs::write(&target, "old").unwrap();
    let mut file = FollowedFile::new(|folder| symlink(&target, folder.join("config")).unwrap()).await;
    file.assert_reports("new", |_| fs::write(&target, "new").unwrap()).await;
}

#[tokio::test]
async fn a_missing_file_is_reported_once_and_again_when_it_is_back() {
    let mut file = FollowedFile::plain().await;
    let gone =
        file.report(NOTICE_TIMEOUT, |folder| fs::remove_file(folder.join("config")).unwrap()).await.expect("noticed");
    assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    file.assert_silent(|folder| fs::write(folder.join("another"), "x").unwrap()).await;
    file.assert_reports("back", |folder| fs::write(folder.join("config"), "back").unwrap()).await;
}

#[tokio::test]
async fn links_of_folders_on_the_path_are_followed() {
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
        FollowedFile::new(|folder| symlink(versions.path().join("current/file"), folder.join("config")).unwrap()).await;
    file.assert_reports("new", |_| point_to("b")).await;
    file.assert_reports("newer", |_| point_to("c")).await;
    file.assert_reports("written", |_| fs::write(versions.path().join("c/file"), "written").unwrap()).await;
}

#[tokio::test]
async fn a_file_whose_folder_is_replaced_is_still_followed() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("inner/config");
    fs::create_dir(outer.path().join("inner")).unwrap();
    fs::write(&path, "old").unwrap();
    let mut file = FollowedFile { folder: outer, follower: FileFollower::new(&path).unwrap() };
    assert_eq!(file.follower.changed().await.unwrap(), "old");
    let replace = |folder: &Path| {
        fs::create_dir(folder.join("next")).unwrap();
        fs::write(folder.join("next/config"), "new").unwrap();
        fs::rename(folder.join("inner"), folder.join("gone")).unwrap();
        fs::rename(folder.join("next"), folder.join("inner")).unwrap();
    };
    file.assert_reports("new", replace).await;
    file.assert_reports("newer", |folder| fs::write(folder.join("inner/config"), "newer").unwrap()).await;
}
