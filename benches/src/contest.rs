//! Several pieces of work measured side by side.

use std::time::Duration;

use cpu_time::ThreadTime;

/// How long one candidate works before the next one has its turn.
const SLICE: Duration = Duration::from_millis(4);

#[allow(missing_debug_implementations, reason = "it is full of closures")]
/// Pieces of work that take turns: whatever the machine does meanwhile hits all of them.
#[derive(Default)]
pub struct Contest<'a> {
    candidates: Vec<Candidate<'a>>,
}

struct Candidate<'a> {
    name: &'static str,
    work: Box<dyn FnMut() + 'a>,
    batch: u32,
    rounds: Vec<f64>,
}

/// What was measured of one candidate.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: &'static str,
    /// Nanoseconds of this thread's processor time for one piece of work: the median of the rounds.
    pub nanoseconds: f64,
    /// Heap allocations of one piece of work.
    pub allocations: u64,
}

impl<'a> Contest<'a> {
    /// Adds a piece of work.
    pub fn enter(&mut self, name: &'static str, work: impl FnMut() + 'a) {
        self.candidates.push(Candidate {
            name,
            work: Box::new(work),
            batch: 1,
            rounds: Vec::new(),
        });
    }

    /// Lets all take turns for so many rounds.
    pub fn run(mut self, rounds: usize) -> Vec<Figure> {
        for candidate in &mut self.candidates {
            candidate.warm_up();
        }
        for round in 0..rounds {
            // Each round begins with another one, so that none always follows the same neighbour.
            let count = self.candidates.len();
            for turn in 0..count {
                if let Some(candidate) = self.candidates.get_mut((round + turn) % count) {
                    candidate.turn();
                }
            }
        }
        self.candidates.into_iter().map(Candidate::figure).collect()
    }
}

impl Candidate<'_> {
    fn time(&mut self, batch: u32) -> Duration {
        let start = ThreadTime::now();
        for _ in 0..batch {
            (self.work)();
        }
        start.elapsed()
    }

    fn warm_up(&mut self) {
        loop {
            let took = self.time(self.batch);
            if took >= SLICE / 2 || self.batch >= 1 << 24 {
                break;
            }
            self.batch *= 2;
        }
    }

    fn turn(&mut self) {
        let took = self.time(self.batch);
        self.rounds.push(took.as_secs_f64() * 1e9 / f64::from(self.batch));
    }

    fn figure(mut self) -> Figure {
        // The least of a few: what a cache does once in a while is not the price of a request.
        let allocations = (0..64)
            .map(|_| allocation_counter::measure(|| (self.work)()).count_total)
            .min()
            .unwrap_or(0);
        Figure { name: self.name, nanoseconds: median(&mut self.rounds), allocations }
    }
}

/// The middle of these values; 0 for none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }

    #[test]
    fn a_contest_tells_of_each_candidate_what_it_allocates() {
        let mut contest = Contest::default();
        contest.enter("nothing", || {
            std::hint::black_box(1);
        });
        contest.enter("a box", || {
            std::hint::black_box(Box::new([0_u8; 64]));
        });
        let figures = contest.run(3);
        let seen: Vec<_> = figures.iter().map(|figure| (figure.name, figure.allocations)).collect();
        assert_eq!(seen, [("nothing", 0), ("a box", 1)]);
        assert!(figures.iter().all(|figure| figure.nanoseconds > 0.0));
    }
}
