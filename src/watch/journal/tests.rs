use std::time::Duration;

use super::*;
use crate::pacing::Moment;
use crate::state::ObjectName;

fn events(numbers: std::ops::Range<u32>) -> Vec<Received> {
    numbers.map(|i| Received::now(Event::ServiceDeleted(ObjectName::new("default", format!("s-{i}"))))).collect()
}

fn names(path: &Path, until: Option<ReadUntil>) -> Vec<String> {
    read(path, until)
        .unwrap()
        .map(|entry| match entry.unwrap().event {
            Event::ServiceDeleted(name) => name.name().to_string(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn journal() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    (folder, path)
}

#[test]
fn recorded_events_are_read_back_in_order() {
    let (_folder, path) = journal();
    let mut recorder = Recorder::open(&path, "node-a").unwrap();
    let first = {
        let received = events(0..1).remove(0);
        let at = Moment::from_start(received.at.since_start().saturating_sub(Duration::from_secs(2)));
        Received { at, ..received }
    };
    recorder.append([&first]).unwrap();
    recorder.append(&events(1..3)).unwrap();
    assert_eq!(names(&path, None), ["s-0", "s-1", "s-2"]);
    let times: Vec<_> = read(&path, None).unwrap().map(|entry| entry.unwrap().time).collect();
    let between = times[1].duration_since(times[0]).as_secs_f64();
    assert!((1.9..3.0).contains(&between), "{between}");
    assert_ne!(times[0].subsec_nanosecond(), 0);
}

#[test]
fn a_journal_can_be_read_up_to_a_number_or_a_time() {
    let (_folder, path) = journal();
    let lines = (0..5).map(|i| {
        format!(
            r#"{{"time":"2026-01-01T00:00:0{i}.5Z","event":{{"service-deleted":{{"namespace":"n","name":"s-{i}"}}}}}}{}"#,
            "\n"
        )
    });
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    assert_eq!(names(&path, Some(ReadUntil::Count(2))), ["s-0", "s-1"]);
    assert_eq!(names(&path, Some(ReadUntil::Count(0))), [""; 0]);
    assert_eq!(names(&path, Some(ReadUntil::Count(99))).len(), 5);
    assert_eq!(names(&path, Some("2026-01-01T00:00:01.5Z".parse().unwrap())), ["s-0", "s-1"]);
    assert_eq!(names(&path, Some("2025-01-01T00:00:00Z".parse().unwrap())), [""; 0]);
    assert_eq!("17".parse(), Ok(ReadUntil::Count(17)));
    assert!("yesterday".parse::<ReadUntil>().is_err());
}

#[test]
fn a_last_line_that_a_crash_cut_is_completed_or_left_out_and_overwritten() {
    let (_folder, path) = journal();
    Recorder::open(&path, "node-a").unwrap().append(&events(0..3)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in [1, 30, whole.len() / 3 - 1] {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        // Without its newline alone a line is still whole.
        let left: &[&str] = if cut == 1 { &["s-0", "s-1", "s-2"] } else { &["s-0", "s-1"] };
        assert_eq!(names(&path, None), left, "{cut}");
        Recorder::open(&path, "node-a").unwrap().append(&events(7..8)).unwrap();
        assert_eq!(names(&path, None), [left, &["s-7"]].concat(), "{cut}");
    }
}

#[test]
fn any_other_bad_line_is_an_error_that_names_the_line() {
    let (_folder, path) = journal();
    Recorder::open(&path, "node-a").unwrap().append(&events(0..2)).unwrap();
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.insert_str(text.find('\n').unwrap() + 1, "{}\n");
    std::fs::write(&path, text).unwrap();
    let entries: Vec<_> = read(&path, None).unwrap().collect();
    assert_eq!(entries.len(), 2, "nothing is read beyond it");
    let error = entries[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("journal, line 2: not an event"), "{error}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = Recorder::open(Path::new("/nonexistent/journal"), "node-a").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/journal"), "{error}");
    assert!(read(Path::new("/nonexistent/journal"), None).is_err());
}

#[test]
fn a_journal_is_for_its_owner_alone_and_never_behind_a_link() {
    let (folder, path) = journal();
    Recorder::open(&path, "node-a").unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let error = Recorder::open(&link, "node-a").unwrap_err().to_string();
    assert!(error.contains("is a symbolic link"), "{error}");
}

#[test]
fn no_other_file_is_changed() {
    let (folder, path) = journal();
    for content in ["my only copy of the notes", "a line\nanother", "{}\n", "{\"time\": "] {
        std::fs::write(&path, content).unwrap();
        let error = Recorder::open(&path, "node-a").unwrap_err().to_string();
        assert!(error.contains("does not begin as a journal does"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    for begin in ["", "{", "{\"time\":\"2026-01-02T"] {
        std::fs::write(&path, begin).unwrap();
        Recorder::open(&path, "node-a").unwrap().append(&events(0..1)).unwrap();
        assert_eq!(names(&path, None), ["s-0"], "{begin}");
    }
    for other in ["/dev/full", "/dev/zero", &*folder.path().display().to_string()] {
        assert!(Recorder::open(Path::new(other), "node-a").is_err(), "{other}");
    }
}

#[test]
fn a_full_journal_is_replaced_and_each_file_can_be_replayed() {
    use crate::fixtures::{empty_lists, service};
    let (_folder, path) = journal();
    let mut recorder = Recorder::open(&path, "node-a").unwrap();
    let received = |event: Event| [Received::now(event)];
    for event in empty_lists() {
        recorder.append(&received(event)).unwrap();
    }
    let mut ends = Vec::new();
    for n in 0..7 {
        recorder.max = 1;
        recorder.append(&received(service(&format!("shop/web-{n}")).into())).unwrap();
        ends.push(Timestamp::now());
        std::thread::sleep(Duration::from_millis(2));
    }
    let services = |entries: Entries| {
        let mut cluster = Cluster::new("node-a");
        entries.for_each(|entry| drop(cluster.apply(entry.unwrap().event)));
        assert!(cluster.is_complete());
        cluster.service_count()
    };
    assert_eq!(services(read(&path, None).unwrap()), 7);
    for number in 1..=KEPT_FILES {
        assert_eq!(services(read(&rotated(&path, number), None).unwrap()), 8 - number as usize);
    }
    assert!(!rotated(&path, KEPT_FILES + 1).exists());
    // A time finds the file that holds it.
    for (n, end) in ends.iter().enumerate().skip(3) {
        assert_eq!(services(read(&path, Some(ReadUntil::Time(*end))).unwrap()), n + 1, "{n}");
    }
}
