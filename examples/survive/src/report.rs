//! What came out: a table, and the figures as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::flood;
use crate::load::{Group, Outcome, Sample};

/// A request that begins this soon after an incident still counts as hit by it.
const AFTERMATH: Duration = Duration::from_millis(250);

/// A part of the run.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) incident: Option<Incident>,
    /// What the issuer was asked by our group; `None` where nobody counts.
    pub(crate) token_requests: Option<u64>,
    pub(crate) jwks_fetches: Option<u64>,
    pub(crate) flood: Option<flood::Outcome>,
    /// How often a device of our group logged out.
    pub(crate) log_outs: Option<u64>,
    pub(crate) rightless: Option<Rightless>,
    /// When the resource was well again, where it was the one that was not.
    pub(crate) well_at: Option<Duration>,
}

/// Calls that are forbidden although their token is fine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rightless {
    pub(crate) calls: u64,
    /// Those that the resource got twice, for nothing.
    pub(crate) replayed: u64,
}

/// What happened in a phase, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incident {
    pub(crate) label: &'static str,
    pub(crate) at: Duration,
    /// Zero: it was over at once.
    pub(crate) lasted: Duration,
}

impl Phase {
    pub(crate) fn new(name: &'static str, began: Duration) -> Self {
        Self {
            name,
            began,
            ended: began,
            incident: None,
            token_requests: None,
            jwks_fetches: None,
            flood: None,
            log_outs: None,
            rightless: None,
            well_at: None,
        }
    }
}

/// The figures of a phase.
#[derive(Debug)]
pub(crate) struct Row {
    phase: Phase,
    requests: u64,
    pub(crate) failed: u64,
    control_failed: u64,
    /// Of ours, by a resource that refused everybody; `None` where it did not.
    refused: Option<u64>,
    /// From the incident, or the start of a request after it, to its answer: median and 99 %.
    recovery: Option<[Duration; 2]>,
}

/// The figures of all phases. A request belongs to the phase in which it was sent.
pub(crate) fn rows(phases: &[Phase], samples: &[Sample]) -> Vec<Row> {
    let ends = phases.iter().skip(1).map(|next| next.began).chain([Duration::MAX]);
    let row = |(phase, end): (&Phase, Duration)| {
        let sent = |group: Group| {
            samples.iter().filter(move |sample| {
                sample.group == group && sample.start >= phase.began && sample.start < end
            })
        };
        let ended =
            |group, outcome| sent(group).filter(|sample| sample.outcome == outcome).count() as u64;
        Row {
            phase: phase.clone(),
            requests: sent(Group::Ours).count() as u64,
            failed: ended(Group::Ours, Outcome::Failed),
            control_failed: ended(Group::Control, Outcome::Failed),
            refused: phase.well_at.map(|_| ended(Group::Ours, Outcome::Refused)),
            recovery: recovery(phase, samples),
        }
    };
    phases.iter().zip(ends).map(row).collect()
}

impl Row {
    /// What only this phase has.
    fn remark(&self) -> String {
        let flood = self.phase.flood;
        let flood =
            flood.map(|flood| format!("{} forged, {} let in", flood.forged, flood.accepted));
        let log_outs = self.phase.log_outs.map(|count| format!("{count} log-outs"));
        let rightless = self.phase.rightless.map(|Rightless { calls, replayed }| {
            format!("{calls} without the right, {replayed} of them twice")
        });
        let refused = self.refused.map(|count| format!("{count} refused"));
        [flood, log_outs, rightless, refused].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Token requests for each log-out: the one of the device that is left, and of the one that comes.
const MOST_FOR_A_LOG_OUT: u64 = 2;
/// Token requests while all is refused for five seconds.
const MOST_WHILE_REFUSED: u64 = 5;

/// What was promised of how often the issuer and the resource are asked, and was not kept.
pub(crate) fn broken(rows: &[Row]) -> Vec<String> {
    let promised = |row: &Row| {
        let log_outs = row.phase.log_outs.map(|count| count * MOST_FOR_A_LOG_OUT);
        let most = log_outs.or(row.refused.map(|_| MOST_WHILE_REFUSED))?;
        let asked = row.phase.token_requests.filter(|asked| *asked > most)?;
        Some(format!("{}: {asked} token requests, and {most} at most was said", row.phase.name))
    };
    let replayed = |row: &Row| {
        let replayed = row.phase.rightless.filter(|calls| calls.replayed > 0)?.replayed;
        Some(format!("{}: {replayed} calls without the right were sent twice", row.phase.name))
    };
    rows.iter().flat_map(|row| [promised(row), replayed(row)]).flatten().collect()
}

/// Median and 99th percentile for those of our requests that the incident hit. A flood hits nobody, and
/// from a resource that refuses everybody one recovers when it is well again.
fn recovery(phase: &Phase, samples: &[Sample]) -> Option<[Duration; 2]> {
    let incident = phase.incident.filter(|_| phase.flood.is_none())?;
    let at = phase.well_at.unwrap_or(incident.at);
    let hit = samples.iter().filter(|sample| {
        sample.group == Group::Ours
            && sample.outcome != Outcome::Refused
            && sample.end >= at
            && sample.start <= at + AFTERMATH
    });
    let mut waits: Vec<_> =
        hit.map(|sample| sample.end.saturating_sub(sample.start.max(at))).collect();
    waits.sort_unstable();
    Some([percentile(&waits, 50)?, percentile(&waits, 99)?])
}

/// The smallest of the sorted values that so many per cent of them do not exceed.
fn percentile(sorted: &[Duration], per_cent: usize) -> Option<Duration> {
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

pub(crate) fn to_json(rows: &[Row]) -> Value {
    let ms = |wait: Duration| (wait.as_secs_f64() * 10_000.0).round() / 10.0;
    let phases = rows.iter().map(|row| {
        json!({
            "name": row.phase.name,
            "requests": row.requests,
            "failed": row.failed,
            "control_failed": row.control_failed,
            "token_requests": row.phase.token_requests,
            "jwks_fetches": row.phase.jwks_fetches,
            "recovery_ms_p50": row.recovery.map(|[median, _]| ms(median)),
            "recovery_ms_p99": row.recovery.map(|[_, high]| ms(high)),
            "forged": row.phase.flood.map(|flood| flood.forged),
            "forged_accepted": row.phase.flood.map(|flood| flood.accepted),
            "log_outs": row.phase.log_outs,
            "rightless": row.phase.rightless.map(|rightless| rightless.calls),
            "rightless_replayed": row.phase.rightless.map(|rightless| rightless.replayed),
            "refused": row.refused,
        })
    });
    json!({ "phases": phases.collect::<Vec<_>>() })
}

/// The figures for people.
pub(crate) fn to_table(rows: &[Row]) -> String {
    let head = [
        ["", "our", "our", "control", "token", "JWKS", "recovery", "", ""],
        ["phase", "requests", "failed", "failed", "calls", "calls", "p50 ms", "p99 ms", ""],
    ];
    let count = |count: Option<u64>| count.map_or_else(|| "-".into(), |count| count.to_string());
    let wait = |wait: Option<Duration>| {
        wait.map_or_else(|| "-".into(), |wait| format!("{:.1}", wait.as_secs_f64() * 1000.0))
    };
    let lines = rows.iter().map(|row| {
        [
            row.phase.name.to_owned(),
            row.requests.to_string(),
            row.failed.to_string(),
            row.control_failed.to_string(),
            count(row.phase.token_requests),
            count(row.phase.jwks_fetches),
            wait(row.recovery.map(|[median, _]| median)),
            wait(row.recovery.map(|[_, high]| high)),
            row.remark(),
        ]
    });
    let widths = [9, 7, 8, 6, 6, 9, 7];
    let mut table = String::new();
    for line in head.map(|line| line.map(str::to_owned)).into_iter().chain(lines) {
        let [name, figures @ .., remark] = line;
        table += &format!("{name:<17}");
        for (figure, width) in figures.into_iter().zip(widths) {
            table += &format!("{figure:>width$}");
        }
        table += format!("  {remark}").trim_end();
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<_> = (1..=200).map(ms).collect();
        let of = |values: &[Duration], per_cent| percentile(values, per_cent);
        assert_eq!((of(&values, 50), of(&values, 99)), (Some(ms(100)), Some(ms(198))));
        assert_eq!((of(&[ms(7)], 50), of(&[ms(7)], 99)), (Some(ms(7)), Some(ms(7))));
        assert_eq!(of(&[], 50), None);
    }

    #[test]
    fn an_issuer_that_is_asked_too_often_is_told_of() {
        let cases = [
            (None, None, 1_000, false),
            (Some(20), None, 40, false),
            (Some(20), None, 41, true),
            (None, Some(ms(500)), 5, false),
            (None, Some(ms(500)), 6, true),
        ];
        for (log_outs, well_at, asked, told) in cases {
            let mut phase = Phase::new("phase", ms(0));
            (phase.log_outs, phase.well_at) = (log_outs, well_at);
            phase.token_requests = Some(asked);
            assert_eq!(broken(&rows(&[phase], &[])).len(), usize::from(told), "{asked}");
        }
    }

    #[test]
    fn what_is_refused_by_a_resource_that_refuses_all_has_not_failed() {
        let sample = |start, end, outcome| Sample {
            group: Group::Ours,
            start: ms(start),
            end: ms(end),
            outcome,
        };
        let samples = [
            sample(110, 120, Outcome::Refused),
            sample(195, 205, Outcome::Refused),
            sample(198, 203, Outcome::Good),
            sample(210, 215, Outcome::Failed),
        ];
        let mut phase = Phase::new("reject_all", ms(0));
        phase.incident = Some(Incident { label: "", at: ms(100), lasted: ms(100) });
        phase.well_at = Some(ms(200));
        let json = to_json(&rows(&[phase], &samples));
        let row = &json["phases"][0];
        assert_eq!((&row["refused"], &row["failed"]), (&json!(2), &json!(1)));
        // From when it is well again, and for those whom it did not refuse.
        assert_eq!((&row["recovery_ms_p50"], &row["recovery_ms_p99"]), (&json!(3.0), &json!(5.0)));
    }

    #[test]
    fn requests_count_where_they_were_sent_and_recover_from_the_incident_on() {
        let sample = |group, start, end, ok| {
            let outcome = if ok { Outcome::Good } else { Outcome::Failed };
            Sample { group, start: ms(start), end: ms(end), outcome }
        };
        let samples = [
            sample(Group::Ours, 10, 20, true),
            // Held by the network: it waits from the incident on, not from when it was sent.
            sample(Group::Ours, 150, 205, true),
            sample(Group::Ours, 210, 213, true),
            // Too late to be hit.
            sample(Group::Ours, 500, 900, true),
            sample(Group::Control, 150, 1_100, false),
        ];
        let mut incident = Phase::new("incident", ms(100));
        incident.incident = Some(Incident { label: "", at: ms(200), lasted: ms(0) });
        let rows = rows(
            &[Phase::new("steady", ms(0)), incident, Phase::new("after", ms(1_000))],
            &samples,
        );
        let json = to_json(&rows);
        let (steady, hit, after) = (&json["phases"][0], &json["phases"][1], &json["phases"][2]);
        assert_eq!((&steady["requests"], &steady["recovery_ms_p50"]), (&json!(1), &Value::Null));
        assert_eq!((&hit["requests"], &hit["failed"]), (&json!(3), &json!(0)));
        assert_eq!((&hit["recovery_ms_p50"], &hit["recovery_ms_p99"]), (&json!(3.0), &json!(5.0)));
        assert_eq!((&hit["control_failed"], &after["control_failed"]), (&json!(1), &json!(0)));
        assert_eq!(steady["token_requests"], Value::Null);
        assert_eq!(hit.as_object().unwrap().len(), 14);
    }
}
