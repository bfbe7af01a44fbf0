//! Rows that are not run, and why.

/// Rows and the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    (
        "A8, L4, L11, M1, P1-P9",
        "about names, chains and stale chains of kube-proxy; this program has no chains per Service",
    ),
    ("L2-L12, operation counts", "counted where plans are tested; their effects are rows here"),
    ("C7 with packets", "not every kernel can open SCTP sockets; it runs as a unit test"),
    ("N1-N7, gauges", "tested beside the state that they count; their effects are rows here"),
    ("Q10, Q19-Q21, health checks; T1-T7; X14-X22", "tested in tests/kernel and beside the code"),
    ("A5, ZZ26, session affinity", "takes many clients and time to pass; tested in tests/kernel/affinity.rs"),
    ("S1-S17, flows to look at", "old UDP flows are not looked at yet; what kube-proxy looks at is rows here"),
    ("R16, R20, R21, R25", "inputs cannot be mutated in this language; the others are halves of other rows"),
    ("T8-T15, X1-X13, Y1-Y8", "metrics, health pages and the loop have tests of their own"),
    ("V2, V5-V7, V10, V11, exits", "kube-proxy waits for its Node, and ends when it changes; here it is followed"),
    ("U11", "its feature gate is locked on"),
    ("Z18-Z36, Z38-Z43, Z49, Z51", "about kube-proxy's configuration file and bind addresses; there is none"),
    (
        "ZZ18, ZZ19",
        "ICMP echo, and hosts without a route: rules do not tell protocols apart there, and routes come first",
    ),
    ("ZZ20-ZZ31", "about processes, not packets; what applies is tested in tests/kernel"),
];
