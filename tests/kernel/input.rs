//! Broken manifests, and the batch that a dry run prints.

use crate::common::manifests::{service, slice_of};
use crate::common::netns::{Failure, Family};
use crate::world::World;

#[test]
fn one_sync_from_a_folder_with_a_broken_file_programs_the_rest_and_ends_with_an_error_that_says_so() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    world.manifests.apply_text("broken.yaml", "kind: Service\nmetadata: [");
    let sync = || world.node.pointsman(&["--manifests", world.manifests.path(), "--once"]);
    let synced = sync();
    assert_eq!(synced.code, Some(2), "{}", synced.stderr);
    assert!(synced.stderr.contains("the rest was programmed, but: cannot read "), "{}", synced.stderr);
    assert!(synced.stderr.contains("broken.yaml: document 1: "), "{}", synced.stderr);
    world.assert_web_reaches(&[11]);
    world.manifests.apply_text("broken.yaml", "kind: List");
    assert_eq!(sync().code, Some(0));
}

#[test]
fn broken_objects_are_named_and_counted_and_the_rest_works() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let broken = |name: &str, number: u16| service(name).dual_stack(number);
    world.manifests.apply_text("broken.yaml", "kind: Service\n  metadata: [never\n\tclosed");
    world.manifests.apply(broken("default/no-ports", 41));
    world.manifests.apply(slice_of("default/ghost", Family::V4).port("tcp", 80).endpoint(Family::V4.pod_ip(11)));
    world.manifests.apply_text(
        "big-port.json",
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"default","name":"big-port"},
            "spec":{"clusterIP":"10.96.0.42","clusterIPs":["10.96.0.42"],"ipFamilies":["IPv4"],
                    "ports":[{"name":"bad","port":99999,"protocol":"TCP"},{"name":"good","port":80,"protocol":"TCP"}]}}"#,
    );
    world.manifests.apply_text(
        "banana.json",
        r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",
            "metadata":{"namespace":"default","name":"banana","labels":{"kubernetes.io/service-name":"big-port"}},
            "ports":[{"name":"good","port":8080,"protocol":"TCP"}],
            "endpoints":[{"addresses":["banana"]},{"addresses":["10.128.0.11"]}]}"#,
    );
    world.manifests.apply(broken("default/first", 43).created("2025-01-01T00:00:00Z").port("http", 80));
    world.manifests.apply(broken("default/second", 43).created("2025-06-01T00:00:00Z").port("http", 80));
    for (name, pod) in [("default/first", 11), ("default/second", 12)] {
        for family in Family::ALL {
            world.manifests.apply(slice_of(name, family).port("http", 8080).endpoint(family.pod_ip(pod)));
        }
    }

    let proxy = world.follow();
    world.assert_web_reaches(&[11, 12]);
    let good = world.node.tcp(Family::V4.cluster_ip(42), 80).send();
    assert_eq!(good.map(|answer| answer.server.ip()), Ok(Family::V4.pod_ip(11)), "the good port and the good address");
    assert_eq!(world.node.tcp(Family::V4.cluster_ip(42), 81).send(), Err(Failure::Refused));
    for family in Family::ALL {
        let answers = world.node.tcp(family.cluster_ip(43), 80).send_many(50);
        assert!(
            answers.iter().all(|answer| answer.is_ok_and(|answer| answer.server.ip() == family.pod_ip(11))),
            "the older of two Services keeps the frontend: {answers:?}"
        );
    }

    let log = proxy.log();
    for name in ["broken.yaml", "99999", "banana", "default/ghost", "default/no-ports", "default/second"] {
        assert!(log.contains(name), "no warning names {name}:\n{log}");
    }
    let metrics = proxy.metrics(&world.node.host);
    for reason in ["undecodable", "bad-port", "bad-address", "no-service", "no-ports", "frontend-taken"] {
        let counted = metrics.lines().any(|line| {
            line.starts_with("pointsman_skipped_total{")
                && line.contains(&format!("reason=\"{reason}\""))
                && !line.ends_with(" 0")
        });
        assert!(counted, "{reason} is not counted:\n{metrics}");
    }
}

#[test]
fn manifests_without_objects_or_that_do_not_parse_are_refused_and_change_nothing() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    world.sync();
    let before = world.node.nft(&["-a", "list", "ruleset"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a path of letters").to_owned()
    };
    let only_pods = "{kind: List, apiVersion: v1, items: [{kind: Pod, apiVersion: v1, metadata: {name: a}}]}";
    for (manifests, words) in [
        // Standard input is empty here.
        ("-".to_owned(), "standard input holds no object"),
        (file("empty.yaml", ""), "empty.yaml holds no object"),
        (file("comment.yaml", "# nothing\n---\n"), "comment.yaml holds no object"),
        (file("pods.yaml", only_pods), "but 1 Pod v1"),
        (
            file("broken.yaml", "kind: Service\nmetadata: {name: web}\nspec: [\n"),
            "broken.yaml: document 1: line 3, column 7",
        ),
        (file("broken.json", "{\"kind\": \"Service\",\n\"spec\" 7}"), "broken.json: document 1: line 2, column 8"),
    ] {
        for mode in ["--once", "--dry-run"] {
            let finished = world.node.pointsman(&["--manifests", &manifests, mode]);
            assert_eq!(finished.code, Some(2), "{manifests} {mode}: {}", finished.stderr);
            assert!(finished.stderr.contains(words), "{manifests} {mode}: {}", finished.stderr);
        }
        assert_eq!(world.node.nft(&["-a", "list", "ruleset"]), before, "{manifests}");
    }
    let nothing = file("nothing.yaml", "{kind: List, apiVersion: v1, items: []}");
    assert_eq!(world.node.pointsman(&["--manifests", &nothing, "--once"]).code, Some(0));
    assert_ne!(world.node.nft(&["-a", "list", "ruleset"]), before, "an empty list is meant");
}

#[test]
fn the_batch_that_a_dry_run_prints_has_the_effect_of_a_sync() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let arguments = ["--manifests", world.manifests.path(), "--dry-run", "--against", "empty", "-o", "json"];
    let plan = world.node.pointsman(&arguments);
    assert_eq!(plan.code, Some(1), "{}", plan.stderr);
    let loaded = world.node.nft_with_input(&["-j", "-f", "-"], &plan.stdout);
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    world.assert_no_difference();
    world.assert_web_reaches(&[11, 12, 13]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let Some(world) = World::with_web(&[11]) else { return };
    assert_eq!(world.dry_run().code, Some(1));
    assert_eq!(world.node.nft(&["list", "ruleset"]), "", "nothing is left behind");
    world.sync();
    let before = world.node.nft(&["-a", "list", "ruleset"]);
    world.set_web_endpoints(&[]);
    assert_eq!(world.dry_run().code, Some(1));
    assert_eq!(world.node.nft(&["-a", "list", "ruleset"]), before);
}

#[test]
fn the_longest_names_and_those_that_begin_with_a_digit_reach_comments_logs_and_clients() {
    let Some(world) = World::new() else { return };
    world.serve(&[11]);
    // Labels of RFC 1123, which Kubernetes 1.37 admits as names of Services.
    let (namespace, name, port) = ("9".repeat(63), format!("7{}", "w".repeat(62)), "p".repeat(63));
    let service = service(&format!("{namespace}/{name}")).dual_stack(44).port(&port, 80);
    world.manifests.apply(service);
    for family in Family::ALL {
        let slice = slice_of(&format!("{namespace}/{name}"), family);
        world.manifests.apply(slice.port(&port, 8080).endpoint(family.pod_ip(11)));
    }
    let proxy = world.follow();
    for family in Family::ALL {
        let answer = world.node.tcp(family.cluster_ip(44), 80).send();
        assert_eq!(answer.map(|answer| answer.server.ip()), Ok(family.pod_ip(11)));
    }
    let listing = world.node.nft(&["list", "table", "ip", "pointsman"]);
    assert!(listing.contains(&format!("comment \"{namespace}/{name}:{port}\"")), "{listing}");
    let log = proxy.log();
    assert!(!log.lines().any(|line| line.contains("WARN") && line.contains(&name)), "{log}");
    world.assert_no_difference();
}
