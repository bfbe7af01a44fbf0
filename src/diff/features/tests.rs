use super::*;
use crate::dataplane::{ChainContents, SetContents};

fn class(endpoints: usize) -> SizeClass {
    SizeClass::for_endpoints(endpoints).unwrap()
}

fn frontend_counts(counts: &[(usize, u32)]) -> FrontendCounts {
    let set = |(endpoints, count): &(usize, u32)| (SetName::Slots(EndpointList::Any, class(*endpoints)), *count);
    FrontendCounts { counts: counts.iter().map(set).collect(), ..FrontendCounts::default() }
}

fn order(held: &[usize], counts: &[(usize, u32)]) -> Vec<u32> {
    let classes = held.iter().map(|endpoints| (EndpointList::Any, class(*endpoints))).collect();
    let needed = needed(
        &ProgramFeatures { classes, ..ProgramFeatures::default() },
        &frontend_counts(counts),
        &FrontendCounts::default(),
    );
    needed.classes.iter().map(|(_, class)| class.slots()).collect()
}

#[test]
fn new_classes_are_ordered_by_counts_and_then_by_size() {
    assert_eq!(order(&[], &[(1, 5), (4, 100), (8, 20), (16, 5)]), [4, 8, 1, 16]);
}

#[test]
fn a_small_change_of_counts_does_not_change_the_order_and_a_large_one_does() {
    assert_eq!(order(&[4, 1], &[(4, 100), (1, 150)]), [4, 1]);
    assert_eq!(order(&[4, 1], &[(4, 100), (1, 208)]), [4, 1]);
    assert_eq!(order(&[4, 1], &[(4, 100), (1, 209)]), [1, 4]);
    assert_eq!(order(&[4, 1], &[(1, 8)]), [4, 1], "a few");
}

#[test]
fn a_class_without_frontends_stays() {
    assert_eq!(order(&[2, 4], &[(4, 1)]), [2, 4]);
}

#[test]
fn source_checks_go_with_their_last_frontend() {
    let mut counts = FrontendCounts::default();
    let has_checks = |counts: &FrontendCounts| {
        let held = ProgramFeatures { source_checks: true, ..Default::default() };
        needed(&held, counts, &FrontendCounts::default()).source_checks
    };
    assert!(!has_checks(&counts));
    counts.add([SetName::SourceChecks, SetName::External].into_iter());
    counts.add([SetName::SourceChecks].into_iter());
    counts.remove([SetName::SourceChecks].into_iter());
    assert!(has_checks(&counts));
    counts.remove([SetName::SourceChecks, SetName::External].into_iter());
    assert!(!has_checks(&counts));
}

#[test]
fn affinity_goes_with_its_last_frontend() {
    let set = SetName::AffinitySlots(EndpointList::Local, class(3));
    let mut counts = FrontendCounts::default();
    counts.add([set, SetName::External].into_iter());
    counts.add([set].into_iter());
    counts.remove([set].into_iter());
    assert_eq!(needed(&ProgramFeatures::default(), &counts, &FrontendCounts::default()).affinity.len(), 1);
    counts.remove([set].into_iter());
    assert_eq!(counts, FrontendCounts::default());
    assert_eq!(needed(&ProgramFeatures::default(), &counts, &FrontendCounts::default()), ProgramFeatures::default());
}

/// A table that has these sets, and chains whose rules note classes for these numbers of endpoints.
fn table(sets: &[SetName], noted: &[(ChainName, &[usize])]) -> TableContents {
    let chains = noted.iter().map(|(chain, classes)| {
        let classes = classes.iter().map(|endpoints| class(*endpoints)).collect();
        (chain.0.to_string(), ChainContents { classes, ..ChainContents::default() })
    });
    let set = |set: &SetName| (set.to_string(), SetContents { is_map: false, recognised: true, capacity: None });
    TableContents { sets: sets.iter().map(set).collect(), chains: chains.collect(), ..TableContents::default() }
}

#[test]
fn the_features_of_a_table_are_those_of_its_sets_in_the_order_that_its_rules_note() {
    use EndpointList::{Any, Local, NodeportAny};
    let sets = [
        SetName::Internal(class(1)),
        SetName::Internal(class(3)),
        SetName::Internal(class(5)),
        SetName::Slots(Any, class(2)),
        SetName::Slots(NodeportAny, class(4)),
        SetName::AffinitySlots(Any, class(2)),
        SetName::AffinitySlots(Any, class(9)),
        SetName::AffinitySlots(Local, class(3)),
        SetName::SourceChecks,
        SetName::Sources(crate::fixtures::frontend("203.0.113.1 80/tcp")),
    ];
    let noted: [(ChainName, &[usize]); 3] =
        [("services".into(), &[3, 1]), (Any.chain().into(), &[2]), (ChainName::draw_id(Any), &[9, 2])];
    let expected = ProgramFeatures {
        internal: [3, 1, 5].map(class).to_vec(),
        classes: vec![(Any, class(2)), (NodeportAny, class(4))],
        affinity: vec![(Any, class(9)), (Any, class(2)), (Local, class(3))],
        source_checks: true,
    };
    assert_eq!(found(&table(&sets, &noted)), expected);
}

#[test]
fn a_class_that_rules_note_and_whose_set_is_gone_is_no_feature() {
    let list = EndpointList::Any;
    let noted: [(ChainName, &[usize]); 3] =
        [("services".into(), &[3, 1]), (list.chain().into(), &[3, 1]), (ChainName::draw_id(list), &[3, 1])];
    let sets = [SetName::Internal(class(1)), SetName::Slots(list, class(1)), SetName::AffinitySlots(list, class(1))];
    let expected = ProgramFeatures {
        internal: vec![class(1)],
        classes: vec![(list, class(1))],
        affinity: vec![(list, class(1))],
        ..ProgramFeatures::default()
    };
    assert_eq!(found(&table(&sets, &noted)), expected);
    assert_eq!(found(&table(&[], &noted)), ProgramFeatures::default());
}

#[test]
fn tables_that_differ_in_the_order_of_one_kind_of_classes_have_no_common_order() {
    let classes = [1, 2].map(class);
    let with = |internal: &[SizeClass], list: &[SizeClass], affinity: &[SizeClass]| {
        let of_list = |classes: &[SizeClass]| classes.iter().map(|class| (EndpointList::Any, *class)).collect();
        ProgramFeatures {
            internal: internal.to_vec(),
            classes: of_list(list),
            affinity: of_list(affinity),
            ..ProgramFeatures::default()
        }
    };
    let (one, other) = (classes, [classes[1], classes[0]]);
    let same = with(&one, &one, &one);
    assert!(has_same_order(&same, &ProgramFeatures { source_checks: true, ..same.clone() }));
    for differs in [with(&other, &one, &one), with(&one, &other, &one), with(&one, &one, &other)] {
        assert!(!has_same_order(&same, &differs));
    }
}

#[test]
fn endpoints_by_id_keep_session_affinity_though_another_program_deleted_their_class() {
    let class = SizeClass::for_endpoints(2).unwrap();
    let held = ProgramFeatures { affinity: vec![(EndpointList::Any, class)], ..ProgramFeatures::default() };
    let mut counts = FrontendCounts::default();
    counts.add([SetName::EndpointsById(EndpointList::Any)].into_iter());
    let none = FrontendCounts::default();
    assert_eq!(needed(&held, &counts, &none).affinity, held.affinity);
    counts.remove([SetName::EndpointsById(EndpointList::Any)].into_iter());
    assert_eq!(needed(&held, &counts, &none).affinity, []);
}

#[test]
fn a_table_fits_its_counts_until_one_changes_or_frontends_are_upcoming() {
    let set = SetName::AffinitySlots(EndpointList::Local, class(3));
    let (mut counts, none, mut upcoming) =
        (FrontendCounts::default(), FrontendCounts::default(), FrontendCounts::default());
    upcoming.add([set].into_iter());
    assert!(!counts.has_fitting_table(&none), "nothing was planned yet");
    counts.note_fitting_table(&upcoming);
    assert!(!counts.has_fitting_table(&none), "the features may be those of frontends that never come");
    counts.note_fitting_table(&none);
    assert!(counts.has_fitting_table(&none) && !counts.has_fitting_table(&upcoming));
    counts.add([SetName::External].into_iter());
    assert!(counts.has_fitting_table(&none), "nothing follows from this set");
    counts.add([set].into_iter());
    assert!(!counts.has_fitting_table(&none));
    counts.note_fitting_table(&none);
    counts.remove([set].into_iter());
    assert!(!counts.has_fitting_table(&none));
}

#[test]
fn counts_are_equal_if_the_numbers_are_whether_or_not_the_table_was_found_to_fit() {
    let (three, four) = (frontend_counts(&[(2, 3)]), frontend_counts(&[(2, 4)]));
    let mut fitting = three.clone();
    fitting.note_fitting_table(&FrontendCounts::default());
    assert!(three == fitting && three != four);
}
