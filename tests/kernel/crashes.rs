//! `kill -9` at any moment, and a task that ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::world::{World, assert_unbroken};

/// How often the proxy is killed.
const KILLS: usize = 8;

/// The longest delay of a kill after a start: long enough to reach into steady state, short enough to hit start-ups.
const MAX_DELAY: Duration = Duration::from_millis(250);

#[test]
fn kills_at_random_moments_break_no_connection_and_leave_the_right_rules() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    world.serve(&[21, 22, 23, 24, 25, 26]);
    let mut open = world.connections_to(&[11, 12, 13]);
    let mut pods = Vec::new();
    for round in 0..KILLS {
        let proxy = world.start();
        let moment = rand::random_range(Duration::ZERO..MAX_DELAY);
        println!("round {round}: killed after {moment:?}");
        let started = std::time::Instant::now();
        while started.elapsed() < moment {
            // Every state keeps some endpoints, swaps some and now and then crosses a class.
            pods = (11..=13).chain((21..=26).filter(|_| rand::random())).collect();
            world.set_web_endpoints(&pods);
            std::thread::sleep(Duration::from_millis(7));
        }
        proxy.kill();
        assert_unbroken(&mut open);
    }
    let _proxy = world.follow();
    world.assert_web_reaches(&pods);
    assert_unbroken(&mut open);
}

/// Before it has read its options the program catches no signal: then it has changed nothing, and a signal ends it as any program.
#[test]
fn a_signal_in_the_first_moments_of_a_start_leaves_whole_tables_or_none() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let (mut without, mut with) = (0, 0);
    for milliseconds in (0..10).map(|n| n * 3).chain([40, 60, 100, 200, 400]) {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let proxy = world.start();
            std::thread::sleep(Duration::from_millis(milliseconds));
            proxy.signal(signal);
            let ended = proxy.terminate();
            let about = format!("{signal} after {milliseconds} ms: {:?}\n{}", ended.code, ended.stderr);
            let is_told = ended.stderr.contains("interrupted before anything was programmed");
            assert!(matches!((ended.code, is_told), (None | Some(0), false) | (Some(2), true)), "{about}");
            assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("ERROR"), "{about}");
            match world.node.nft(&["list", "tables"]).lines().collect::<Vec<_>>()[..] {
                [] => without += 1,
                ["table ip pointsman", "table ip6 pointsman"] => {
                    with += 1;
                    world.assert_no_difference();
                    world.node.nft(&["flush", "ruleset"]);
                }
                ref other => panic!("{other:?} after {about}"),
            }
        }
    }
    println!("{without} starts left no table, {with} left whole ones");
    assert!(without > 0 && with > 0, "{without} without, {with} with");
}

#[test]
fn a_task_that_cannot_go_on_ends_the_proxy_with_an_error_and_the_rules_stay() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    // A manifest in a folder that vanishes after it was read, and before it is followed.
    let folder = tempfile::tempdir().expect("a folder");
    let (inner, pipe) = (folder.path().join("inner"), folder.path().join("inner/pipe"));
    std::fs::create_dir(&inner).expect("a folder");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let pipe_name = pipe.to_str().expect("a path of letters");
    let args = ["--manifests", world.manifests.path(), "--manifests", pipe_name, "--watch", "--log-level", "info"];
    let mut proxy = world.node.start_pointsman(&args);
    let mut writer = OpenOptions::new().write(true).open(&pipe).expect("the proxy reads the pipe");
    writer.write_all(b"apiVersion: v1\nkind: Service\nmetadata: {name: other, namespace: shop}\n").expect("written");
    std::fs::remove_dir_all(&inner).expect("removed");
    drop(writer);
    let deadline = Instant::now() + Duration::from_secs(15);
    while !proxy.has_ended() {
        assert!(Instant::now() < deadline, "it goes on\n{}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = proxy.terminate();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("following the manifests ended: "), "{}", ended.stderr);
    world.assert_web_reaches(&[11]);
}
