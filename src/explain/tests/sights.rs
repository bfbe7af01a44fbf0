use super::*;

#[test]
fn what_was_seen_live_overrules_what_was_computed() {
    let world = web();
    let seen = |to: &str, dport: u16, sight: Sight| {
        let mut explanation = explained(&world, "203.0.113.7", to, dport);
        explanation.see(sight);
        let said = text(&explanation, world.snapshot(), &ruleset(&world));
        let first = said.lines().next().unwrap().to_owned();
        (explanation.verdict, explanation.reason, first, explanation.fix(world.snapshot()).unwrap_or_default())
    };
    let chain = || "inet fw forward".to_owned();
    let endpoint = |addr: &str| crate::dataplane::Endpoint { addr: ip(addr), port: 8080 };

    let (verdict, reason, first, fix) =
        seen("10.96.0.1", 80, Sight::DroppedElsewhere { chain: chain(), handle: Some(7) });
    assert_eq!((verdict, reason), (Verdict::Dropped, VerdictReason::OtherProgram));
    assert!(first.starts_with("DROPPED  ") && first.ends_with(": inet fw forward (other-program)"), "{first}");
    assert!(fix.starts_with("nft -a list chain inet fw forward shows the rule (handle 7)"), "{fix}");
    let (.., fix) = seen("10.96.0.1", 80, Sight::DroppedElsewhere { chain: chain(), handle: None });
    assert!(fix.starts_with("the policy of inet fw forward drops"), "{fix}");

    let (verdict, reason, first, fix) = seen("10.96.0.1", 80, Sight::NotRouted);
    assert_eq!((verdict, reason), (Verdict::Dropped, VerdictReason::NotRouted));
    assert!(first.ends_with("(not-routed)"), "{first}");
    assert!(fix.contains("ip route get 10.1.0.1, ip route get 10.1.0.2") && fix.contains("ip_forward"), "{fix}");

    let (verdict, reason, first, fix) = seen("10.96.0.1", 80, Sight::Passed { to: endpoint("10.1.0.2") });
    assert_eq!((verdict, reason, &*fix), (Verdict::Delivered, VerdictReason::Balanced, ""));
    assert!(
        first.starts_with("DELIVERED  to 10.1.0.2:8080, as a real packet was seen; to 2 of 5 endpoints"),
        "{first}"
    );

    let (verdict, reason, first, fix) = seen("10.96.0.1", 80, Sight::Passed { to: endpoint("10.9.9.9") });
    assert_eq!((verdict, reason), (Verdict::Untouched, VerdictReason::SeenOtherwise));
    assert!(first.ends_with(": to 10.9.9.9:8080 (seen-otherwise)") && fix.starts_with("ask again"), "{first} {fix}");

    let refused = || Sight::Refused { chain: "ip pointsman refuse".to_owned(), answered: true };
    let (verdict, reason, ..) = seen("10.96.0.2", 80, refused());
    assert_eq!((verdict, reason), (Verdict::Refused, VerdictReason::NoEndpoint));
    let (verdict, reason, ..) = seen("10.96.0.1", 80, refused());
    assert_eq!((verdict, reason), (Verdict::Refused, VerdictReason::SeenOtherwise));
}
