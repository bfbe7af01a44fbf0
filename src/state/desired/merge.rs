//! Comparing what two versions of a Service ask for.

use std::sync::Arc;

use crate::dataplane::Frontend;
use crate::state::compile::FrontendSpec;

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
