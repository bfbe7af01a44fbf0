use super::*;

const LIMITS: Limits = Limits {
    backoff: Backoff::new(Duration::from_millis(800), Duration::from_secs(30)),
    unreachable_max: Duration::from_millis(2_500),
    healthy_after: Duration::from_secs(10),
    rate: 5.0,
    burst: 20.0,
};

/// Plays `seconds` of requests that are each answered, and whose watches end after `lifetime`; returns how many were sent.
fn requests_in(seconds: u64, lifetime: Duration, purposes: &[Purpose]) -> usize {
    let start = Moment::default();
    let mut now = start;
    let mut pace = Pace::new(LIMITS, now);
    let mut sent = 0;
    for purpose in purposes.iter().cycle() {
        now = now + pace.permit(*purpose, now, 1.0).delay;
        if now.since(start) > Duration::from_secs(seconds) {
            return sent;
        }
        sent += 1;
        pace.answered(*purpose, now);
        if *purpose == Purpose::Watch {
            now = now + lifetime;
        }
    }
    sent
}

#[test]
fn watches_that_end_at_once_become_rare() {
    assert_eq!(requests_in(3, Duration::ZERO, &[Purpose::Watch]), 3, "at 0, 0.8 and 2.4 s");
    assert!(requests_in(3600, Duration::ZERO, &[Purpose::Watch]) < 130);
}

#[test]
fn lists_that_succeed_do_not_reset_the_pace() {
    let sent = requests_in(3600, Duration::ZERO, &[Purpose::List, Purpose::Watch]);
    assert!(sent < 260, "{sent}");
}

#[test]
fn a_healthy_watch_is_followed_at_once() {
    let sent = requests_in(2900, Duration::from_secs(290), &[Purpose::Watch]);
    assert_eq!(sent, 11);
}

#[test]
fn the_watch_after_a_list_is_not_delayed() {
    let now = Moment::default();
    let mut pace = Pace::new(LIMITS, now);
    for purpose in [Purpose::List, Purpose::Page, Purpose::Page, Purpose::Watch] {
        assert_eq!(pace.permit(purpose, now, 1.0).delay, Duration::ZERO, "{purpose:?}");
        pace.answered(purpose, now);
    }
    assert_ne!(pace.permit(Purpose::Watch, now, 1.0).delay, Duration::ZERO);
}

#[test]
fn a_list_of_200_pages_takes_no_extra_time() {
    let mut now = Moment::default();
    let mut pace = Pace::new(LIMITS, now);
    let mut waited = Duration::ZERO;
    for _ in 0..200 {
        waited += pace.permit(Purpose::Page, now, 1.0).delay;
        now = now + Duration::from_millis(20);
    }
    assert_eq!(waited, Duration::ZERO);
}

#[test]
fn a_server_that_asks_for_rest_gets_it_within_reason() {
    let now = Moment::default();
    let mut pace = Pace::new(LIMITS, now);
    pace.failed(RequestFailure::Refused(Some(Duration::from_secs(7))), now);
    assert_eq!(pace.permit(Purpose::List, now, 1.0).delay, Duration::from_secs(7));
    pace.failed(RequestFailure::Refused(Some(Duration::from_secs(86_400))), now);
    assert_eq!(pace.permit(Purpose::List, now, 1.0).delay, LIMITS.backoff.longest());
}

#[test]
fn watches_that_end_early_are_told_from_requests_that_fail() {
    let now = Moment::default();
    let mut pace = Pace::new(LIMITS, now);
    let early: Vec<_> = [true, true, true, false, true, true]
        .map(|opens| {
            let permit = pace.permit(Purpose::Watch, now, 1.0);
            if opens {
                pace.answered(Purpose::Watch, now)
            } else {
                pace.failed(RequestFailure::Refused(None), now)
            }
            permit.early
        })
        .to_vec();
    assert_eq!(early, [0, 1, 2, 3, 0, 1]);
}

/// A server that is out of reach for a while, then answers with errors, then is ready. Returns after how long one of many nodes sends
/// the request that succeeds, and how many requests each sends before.
fn restarts(out_of_reach: u64, getting_ready: u64) -> (Vec<Duration>, usize) {
    let start = Moment::default();
    let back = start + Duration::from_secs(out_of_reach);
    let ready = back + Duration::from_secs(getting_ready);
    // Evenly spread numbers stand for random ones.
    let random = |node: u32, n: usize| (f64::from(node) * 0.618_034 + n as f64 * 0.414_214).fract();
    let mut sent = 0;
    let mut delays: Vec<Duration> = (0..1000)
        .map(|node| {
            let (mut pace, mut now) = (Pace::new(LIMITS, start), start);
            for n in 0.. {
                now = now + pace.permit(Purpose::Watch, now, random(node, n)).delay;
                if now.since(ready) > Duration::ZERO {
                    break;
                }
                sent = sent.max(n + 1);
                let is_back = now.since(back) > Duration::ZERO;
                pace.failed(if is_back { RequestFailure::Refused(None) } else { RequestFailure::Unreachable }, now);
            }
            now.since(ready)
        })
        .collect();
    delays.sort();
    (delays, sent)
}

#[test]
fn watches_return_within_three_seconds_after_a_restart_and_not_all_at_once() {
    for (out_of_reach, getting_ready) in [(5, 0), (20, 5), (60, 8), (600, 20), (3600, 0)] {
        let (delays, sent) = restarts(out_of_reach, getting_ready);
        assert!(delays[989] <= Duration::from_secs(3), "{:?}", delays[989]);
        let at_once = |at: &Duration| delays.iter().filter(|other| other.abs_diff(*at).as_millis() < 50).count();
        assert!(delays.iter().map(at_once).max() < Some(150), "of 1000 within 0.1 s");
        assert!(sent as u64 <= 5 + out_of_reach + getting_ready, "{sent}");
    }
}

#[test]
fn a_server_that_only_answers_with_errors_is_asked_ever_more_rarely() {
    let mut now = Moment::default();
    let mut pace = Pace::new(LIMITS, now);
    pace.failed(RequestFailure::Unreachable, now);
    now = now + RESTART_TIME;
    for _ in 0..7 {
        now = now + pace.permit(Purpose::Watch, now, 1.0).delay;
        pace.failed(RequestFailure::Refused(None), now);
    }
    assert_eq!(pace.permit(Purpose::Watch, now, 1.0).delay, LIMITS.backoff.longest());
}

#[test]
fn the_delay_never_overflows() {
    let now = Moment::default();
    let mut pace = Pace::new(LIMITS, now);
    pace.attempts = u32::MAX;
    assert!(pace.permit(Purpose::Watch, now, 1.0).delay <= Duration::from_secs(30));
}
