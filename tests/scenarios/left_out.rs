//! Situations that have no row, and why.

/// What is left out, and the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("kube-proxy's chains and their names", "this program has no chains per Service"),
    ("how many operations a step takes", "counted where plans are tested; what a step leads to is in `steps`"),
    ("SCTP with packets", "not every kernel can open SCTP sockets; `services` has a unit row"),
    ("gauges of policies", "tested beside the state that they count; their effects are in `no-local-endpoints`"),
    ("health checks of Services", "tested in tests/kernel/service_health.rs and beside the code"),
    ("session affinity", "takes many clients and time to pass; tested in tests/kernel/affinity.rs"),
    ("stale UDP flows", "tested in tests/kernel/conntrack.rs and beside the code"),
    ("objects that change while they are read", "impossible in this language"),
    ("metrics, health pages and the loop", "have tests of their own"),
    ("the end of a process whose Node object changes", "this program follows the object instead"),
    ("topology without its feature gate", "the gate is locked on"),
    ("kube-proxy's configuration", "tested in src/config, tests/operator and tests/kernel"),
    ("ICMP echo, and hosts without a route", "rules do not tell protocols apart there, and routes come first"),
    ("starts, ends and crashes of processes", "not about packets; tested in tests/kernel"),
];
