//! Comparing what two versions of a Service ask for.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::dataplane::{Frontend, SizeClass};
use crate::sorted::{Side, differences};
use crate::state::compile::{FrontendSpec, TrafficPolicy};

/// A frontend with what one service port asks of it.
type Claim = (Frontend, Arc<FrontendSpec>);

/// Calls `each` for every claim of one Service that went, came or changed, given both lists in order of frontends. An equal claim keeps
/// its old allocation, so that the new list shares it.
pub(super) fn changed_claims(
    before: &[Claim],
    after: &mut [Claim],
    mut each: impl FnMut(Frontend, Option<&Arc<FrontendSpec>>, Option<&Arc<FrontendSpec>>),
) {
    let (mut old, mut new) = (0, 0);
    while old < before.len() || new < after.len() {
        let frontend = match (before.get(old), after.get(new)) {
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((frontend, _)), None) | (None, Some((frontend, _))) => *frontend,
            (None, None) => return,
        };
        let same = |(other, _): &&Claim| *other == frontend;
        let olds = before[old..].iter().take_while(same).count();
        let news = after[new..].iter().take_while(same).count();
        let (old_claims, new_claims) = (&before[old..old + olds], &mut after[new..new + news]);
        // Nearly always one of each. Several ports of one Service may ask for one frontend: a manifest can say so.
        for at in 0..olds.max(news) {
            let (old_spec, new_spec) = (old_claims.get(at).map(|claim| &claim.1), new_claims.get_mut(at));
            match (old_spec, new_spec) {
                (Some(old_spec), Some((_, new_spec))) if old_spec == new_spec => *new_spec = Arc::clone(old_spec),
                (old_spec, new_spec) => each(frontend, old_spec, new_spec.map(|claim| &claim.1)),
            }
        }
        (old, new) = (old + olds, new + news);
    }
}

/// The most memberships of sets, and their comments, that a frontend may change: four that go and four that come.
const MAX_MEMBERSHIPS: usize = 8;
/// The most operations that session affinity adds to those of a frontend: two more memberships that go and come, and its own chains and map.
const MAX_AFFINITY_OPERATIONS: usize = 20;

/// An upper bound of the elements that have to be written when this is asked of a frontend instead of that.
pub(super) fn changed_elements(before: Option<&FrontendSpec>, after: Option<&FrontendSpec>) -> usize {
    let sources = |spec: &FrontendSpec| spec.sources.as_ref().map_or(0, |sources| sources.len());
    let own = |spec: &FrontendSpec| if spec.affinity.is_some() { MAX_AFFINITY_OPERATIONS } else { 0 };
    let for_each_endpoint = |spec: &FrontendSpec| if spec.affinity.is_some() { 2 } else { 1 };
    let all = |spec: &FrontendSpec| {
        MAX_MEMBERSHIPS / 2 + own(spec) + spec.endpoint_count() * for_each_endpoint(spec) + sources(spec)
    };
    let (Some(before), Some(after)) = (before, after) else { return before.or(after).map_or(0, all) };
    let lists = TrafficPolicy::ALL.map(|policy| (before.endpoints(policy), after.endpoints(policy)));
    let same_sets = before.owner == after.owner
        && before.affinity == after.affinity
        && std::mem::discriminant(&before.outcome) == std::mem::discriminant(&after.outcome)
        && before.sources.is_some() == after.sources.is_some()
        && lists.iter().all(|(old, new)| SizeClass::for_endpoints(old.len()) == SizeClass::for_endpoints(new.len()));
    let memberships = if same_sets { 0 } else { MAX_MEMBERSHIPS };
    let ranges = if before.sources == after.sources { 0 } else { sources(before) + sources(after) };
    let slots = lists.into_iter().filter(|(old, new)| old != new).map(|(old, new)| {
        let (mut gone, mut come) = (0, 0);
        differences(&**old, &**new, |side, _| match side {
            Side::Before => gone += 1,
            Side::After => come += 1,
        });
        // A new endpoint takes the place of one that goes. A place that stays empty is filled by the last endpoint.
        match come.cmp(&gone) {
            Ordering::Less => 2 * come + 3 * (gone - come),
            _ => 2 * gone + (come - gone),
        }
    });
    let own_changes = if before.affinity == after.affinity { 0 } else { own(before) + own(after) };
    memberships + own_changes + ranges + slots.sum::<usize>() * for_each_endpoint(before).max(for_each_endpoint(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, frontend, service, slice};

    #[test]
    fn the_bound_follows_what_changes_and_not_what_there_is() {
        let mut world = World::new();
        let many: Vec<String> = (0..200).map(|n| format!("10.1.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        world.apply(service("shop/web"));
        let mut specs = Vec::new();
        for endpoints in [&many[..], &many[1..], &many[..199], &[]] {
            world.apply(slice("shop/web-1").ready(endpoints));
            specs.push(Arc::clone(world.desired().frontends[&frontend("10.96.0.1 80/tcp")].winner()));
        }
        let bound = |before: usize, after: usize| changed_elements(Some(&specs[before]), Some(&specs[after]));
        assert_eq!((bound(0, 0), bound(0, 1), bound(1, 2)), (0, 3, 2));
        assert_eq!((bound(0, 3), bound(3, 0)), (608, 208));
        assert_eq!(changed_elements(None, Some(&specs[0])), 204);
        world.apply(slice("shop/web-1").ready(&many[..2]));
        let plain = Arc::clone(world.desired().frontends[&frontend("10.96.0.1 80/tcp")].winner());
        world.apply(service("shop/web").affinity(60));
        let sticky = Arc::clone(world.desired().frontends[&frontend("10.96.0.1 80/tcp")].winner());
        let changed = changed_elements(Some(&plain), Some(&sticky));
        assert!(changed >= MAX_MEMBERSHIPS, "affinity is another membership: {changed}");
        assert_eq!(changed_elements(Some(&sticky), Some(&sticky)), 0);
    }
}
