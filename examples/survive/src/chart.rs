//! The picture: failed requests per 100 ms over time, for both groups, as SVG by hand.
//!
//! The axis of the failures is logarithmic, `log10(1 + n)`: a thousand requests that die at once and
//! twenty that die every tenth of a second for seconds are both to be seen, and zero stays zero.

use std::fmt::Write;
use std::time::Duration;

use crate::load::{Group, Outcome, Sample};
use crate::report::{Incident, Phase};

const BUCKET_MS: u128 = 100;

// The canvas, and the plot in it.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 980.0;
const TOP: f64 = 136.0;
const BOTTOM: f64 = 364.0;
/// About what a letter is wide.
const LETTER: f64 = 7.0;

// Told apart by those who see no red and green, too.
const OURS: &str = "#0a6ebd";
const CONTROL: &str = "#d1481f";
const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const GRID: &str = "#e4e7eb";
const BAND: &str = "#f1f3f5";

/// Draws the picture of a run.
pub(crate) fn draw(phases: &[Phase], samples: &[Sample]) -> String {
    let ended = phases.last().map_or(Duration::ZERO, |phase| phase.ended);
    let buckets = usize::try_from(ended.as_millis() / BUCKET_MS).unwrap_or(0) + 1;
    let ours = failures(samples, Group::Ours, buckets);
    let control = failures(samples, Group::Control, buckets);
    let most = ours.iter().chain(&control).copied().max().unwrap_or(0);
    let scale = Scale { seconds: ended.as_secs_f64().max(1.0), most: most.max(100) };

    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="{INK}">
<title>Failed requests over time</title>
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
"#
    );
    heading(&mut svg, samples);
    let incidents: Vec<_> = phases.iter().filter_map(|phase| phase.incident).collect();
    mark(&mut svg, &scale, &incidents);
    axes(&mut svg, &scale);
    notes(&mut svg, &incidents, samples);
    let style = format!(r#"fill="{CONTROL}" fill-opacity="0.15" stroke="{CONTROL}""#);
    line(&mut svg, &scale, &control, &style);
    // Last, so that it is on top where it runs along the axis: that is the point of the picture.
    let style = format!(r#"fill="none" stroke="{OURS}" stroke-width="3.5""#);
    line(&mut svg, &scale, &ours, &style);
    svg.push_str("</svg>\n");
    svg
}

/// The failures of a group, by the tenth of a second in which their callers heard of them.
fn failures(samples: &[Sample], group: Group, buckets: usize) -> Vec<u32> {
    let mut counts = vec![0; buckets];
    for sample in samples.iter().filter(|sample| has_failed(sample, group)) {
        let bucket = usize::try_from(sample.end.as_millis() / BUCKET_MS).unwrap_or(usize::MAX);
        // Answers that come after the end are drawn at the end.
        if let Some(count) = counts.get_mut(bucket.min(buckets.saturating_sub(1))) {
            *count += 1;
        }
    }
    counts
}

fn has_failed(sample: &Sample, group: Group) -> bool {
    sample.group == group && sample.outcome == Outcome::Failed
}

/// Where a moment and a number are in the plot.
struct Scale {
    seconds: f64,
    most: u32,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, failed: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (1.0 + failed).log10() / (1.0 + self.top()).log10()
    }

    /// A little air above the highest peak.
    fn top(&self) -> f64 {
        1.3 * f64::from(self.most)
    }
}

fn heading(svg: &mut String, samples: &[Sample]) {
    text(svg, 20.0, 30.0, r#"font-size="18" font-weight="600""#, "Failed requests over time");
    let legend = [
        (OURS, Group::Ours, "with tower-oauth"),
        (CONTROL, Group::Control, "token kept until it expires, keys loaded once"),
    ];
    let mut x = 20.0;
    for (colour, group, name) in legend {
        let of = |sample: &&Sample| sample.group == group;
        let sent = thousands(samples.iter().filter(of).count());
        let failed = thousands(samples.iter().filter(|sample| has_failed(sample, group)).count());
        let label = format!("{name}: {failed} of {sent} failed");
        let _ = writeln!(
            svg,
            r#"<line x1="{x}" y1="51" x2="{}" y2="51" stroke="{colour}" stroke-width="4"/>"#,
            x + 22.0
        );
        text(svg, x + 30.0, 55.5, "", &label);
        x += 62.0 + LETTER * label.len() as f64;
    }
}

fn axes(svg: &mut String, scale: &Scale) {
    let ticks =
        (0..9).map(|decade| 10_u32.pow(decade)).take_while(|tick| f64::from(*tick) <= scale.top());
    for failed in std::iter::once(0).chain(ticks) {
        let y = scale.y(f64::from(failed));
        let colour = if failed == 0 { INK } else { GRID };
        let _ = writeln!(
            svg,
            r#"<line x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}" stroke="{colour}"/>"#
        );
        let attributes = format!(r#"text-anchor="end" fill="{FAINT}""#);
        text(svg, LEFT - 8.0, y + 4.5, &attributes, &thousands(failed as usize));
    }
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0].into_iter();
    let step = step.clone().find(|step| scale.seconds / step <= 14.0).unwrap_or(600.0);
    let mut seconds = 0.0;
    while seconds <= scale.seconds {
        let attributes = format!(r#"text-anchor="middle" fill="{FAINT}""#);
        text(svg, scale.x(seconds), BOTTOM + 20.0, &attributes, &format!("{seconds:.0}"));
        seconds += step;
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let attributes = format!(r#"text-anchor="middle" fill="{FAINT}""#);
    text(svg, middle, BOTTOM + 42.0, &attributes, "time in seconds");
    let y = (TOP + BOTTOM) / 2.0;
    let attributes =
        format!(r#"text-anchor="middle" fill="{FAINT}" transform="rotate(-90 24 {y})""#);
    text(svg, 24.0, y, &attributes, "failed per 100 ms (log scale)");
}

/// Each incident: a line where it began, a band for as long as it lasted, and its name.
fn mark(svg: &mut String, scale: &Scale, incidents: &[Incident]) {
    let mut placed: Vec<(f64, usize)> = Vec::new();
    // From the right: where a name would run into the line of a later one it goes a row higher, and
    // its own line then passes all names on their left.
    for incident in incidents.iter().rev() {
        // A bucket is drawn from where it begins, and so is what happened in it.
        let at = (incident.at.as_millis() / BUCKET_MS) as f64 / 10.0;
        let (x, end) = (scale.x(at), scale.x(at + incident.lasted.as_secs_f64()));
        let reach = x + LETTER * incident.label.len() as f64;
        let above = placed.iter().filter(|(start, _)| *start < reach).map(|(_, row)| row + 1).max();
        let row = above.unwrap_or(0);
        placed.push((x, row));
        let y = TOP - 10.0 - 17.0 * row as f64;
        let _ = writeln!(
            svg,
            r#"<rect x="{x:.1}" y="{TOP}" width="{:.1}" height="{:.1}" fill="{BAND}"/>
<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{BOTTOM}" stroke="{FAINT}" stroke-dasharray="3 3"/>"#,
            end - x,
            BOTTOM - TOP,
            y - 9.0,
        );
        text(svg, x + 4.0, y, r#"font-size="12""#, incident.label);
    }
}

/// What the picture leaves out.
fn notes(svg: &mut String, incidents: &[Incident], samples: &[Sample]) {
    let restarted = "The control group is restarted by its operators after each incident.";
    let refused = "What is refused while all is refused does not count as failed.";
    let is_refused = |sample: &Sample| sample.outcome == Outcome::Refused;
    let notes = [(restarted, !incidents.is_empty()), (refused, samples.iter().any(is_refused))];
    let attributes = format!(r#"font-size="11" text-anchor="end" fill="{FAINT}""#);
    for (row, (note, _)) in notes.iter().filter(|(_, applies)| *applies).enumerate() {
        text(svg, RIGHT, BOTTOM + 42.0 + 14.0 * row as f64, &attributes, note);
    }
}

/// A line with one step for each bucket, from the axis to the axis.
fn line(svg: &mut String, scale: &Scale, counts: &[u32], style: &str) {
    let mut points = format!("{LEFT},{BOTTOM}");
    for (bucket, count) in counts.iter().enumerate() {
        let y = scale.y(f64::from(*count));
        let (begin, end) = (scale.x(bucket as f64 / 10.0), scale.x((bucket + 1) as f64 / 10.0));
        let _ = write!(points, " {begin:.1},{y:.1} {end:.1},{y:.1}");
    }
    let _ = writeln!(svg, r#"<polyline points="{points} {RIGHT},{BOTTOM}" {style}/>"#);
}

/// `content` is our own text: there is nothing to escape in it.
fn text(svg: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{content}</text>"#);
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_fall_into_the_tenth_in_which_they_were_heard_of() {
        use Outcome::{Failed, Good, Refused};
        let sample = |end, outcome| Sample {
            group: Group::Ours,
            start: Duration::ZERO,
            end: Duration::from_millis(end),
            outcome,
        };
        let samples = [(99, Failed), (100, Failed), (150, Good), (180, Refused), (900, Failed)]
            .map(|(end, outcome)| sample(end, outcome));
        assert_eq!(failures(&samples, Group::Ours, 3), [1, 1, 1]);
        assert_eq!(failures(&samples, Group::Control, 3), [0, 0, 0]);
    }

    #[test]
    fn the_axis_begins_at_zero_and_holds_the_most() {
        for most in [1, 100, 101, 1_000, 20_000] {
            let scale = Scale { seconds: 10.0, most };
            assert!((scale.y(0.0) - BOTTOM).abs() < 1e-9);
            assert!((TOP..BOTTOM).contains(&scale.y(f64::from(most))), "{most}");
        }
        assert_eq!([thousands(0), thousands(999), thousands(20_000)], ["0", "999", "20,000"]);
    }

    #[test]
    fn a_run_without_failures_is_a_picture_too() {
        let mut phase = Phase::new("steady", Duration::ZERO);
        phase.ended = Duration::from_secs(1);
        let svg = draw(&[phase], &[]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(OURS) && svg.ends_with("</svg>\n"));
        assert!(draw(&[], &[]).starts_with("<svg"));
    }
}
